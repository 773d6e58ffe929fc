"""Own one process that we start: it ends with us, can say that it is ready, and its output can be labelled."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from aiki.process.parent import PARENT_VARIABLE, die_with

READY_VARIABLE: Final = "AIKI_READY_FD"
"""The file descriptor on which a worker or a daemon tells the process that started it that it serves."""
_WORD_BYTES: Final = 1024


class Child:
    """A process in a session of its own: Ctrl-C reaches us alone, and we end it in order."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], on_line: Callable[[str], None] | None = None
    ) -> None:
        self.ready = False
        self.word = ""
        """What it said when it was ready."""
        self._ready_fd, says_ready = os.pipe()
        sees_our_end, self._tie = os.pipe()  # the second one is closed by us or by our end
        theirs = (says_ready, sees_our_end)
        parent = os.getpid()
        output = None if on_line is None else subprocess.PIPE
        try:
            with warnings.catch_warnings():
                # From 3.12 on Python warns of forks beside threads; between this one and its exec no lock is taken.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=None if output is None else subprocess.STDOUT,
                    env={**environment, READY_VARIABLE: str(says_ready), PARENT_VARIABLE: str(sees_our_end)},
                    pass_fds=theirs,
                    start_new_session=True,
                    preexec_fn=lambda: die_with(parent, signal.SIGTERM),
                    text=True,
                    errors="replace",
                )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
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
            os.close(self._tie)
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
