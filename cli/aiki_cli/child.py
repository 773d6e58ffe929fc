"""Own one process that we start: it cannot outlive us, can say that it is ready, and its output can be labelled."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

READY_VARIABLE: Final = "AIKI_READY_FD"
"""The file descriptor on which a worker or a daemon tells the process that started it that it serves."""
_WORD_BYTES: Final = 1024
_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Child:
    """A process in a session of its own: Ctrl-C reaches us alone, and we end it in order."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], on_line: Callable[[str], None] | None = None
    ) -> None:
        self.ready = False
        self.word = ""
        """What it said when it was ready."""
        self._ready_fd, theirs = os.pipe()
        parent = os.getpid()
        output = None if on_line is None else subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env={**environment, READY_VARIABLE: str(theirs)},
                pass_fds=(theirs,),
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
                text=True,
                errors="replace",
            )
        finally:
            os.close(theirs)
        if on_line is not None and self._process.stdout is not None:
            threading.Thread(target=_pass_on, args=(self._process.stdout, on_line), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code as a shell shows it, or None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def check_ready(self) -> bool:
        """Tell whether it has said that it serves."""
        if not self.ready and select.select([self._ready_fd], [], [], 0)[0]:
            self.word = os.read(self._ready_fd, _WORD_BYTES).decode(errors="replace").strip()
            self.ready = self.word != ""
        return self.ready

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def end(self, *, seconds: float) -> int:
        """Ask it to end, kill it after `seconds`, and return its exit code."""
        self.send(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()
        code = self.exit_code()
        assert code is not None
        return code

    def close(self) -> None:
        """Give back what an ended child held here."""
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1


def say_ready() -> None:
    """Tell the process that started us that we serve, if it wants to know."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdecimal():
        # Whoever started us by other means may have closed it.
        with contextlib.suppress(OSError):
            os.write(int(descriptor), b"1")
            os.close(int(descriptor))


def _pass_on(stream: IO[str], on_line: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            on_line(line.rstrip("\n"))


def _die_with(parent: int) -> None:
    if _PRCTL is None:
        return
    _PRCTL(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    # Died before the line above took effect: nobody would tell us any more.
    if os.getppid() != parent:
        os._exit(1)
