"""A command on a terminal of its own: what it writes is drawn by an emulator, and tests look at the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyte

from tests.waiting import patient, wait_until_sync


class Terminal:
    """A terminal of some size with a command in its foreground; its stdout is another pipe, if that is asked."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        size: tuple[int, int] = (80, 24),
        piped: bool = False,
    ) -> None:
        self.screen = pyte.Screen(*size)
        self.raw = b""
        """All that was written to it."""
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._set_size(*size)
        reads, writes = os.pipe() if piped else (-1, -1)
        self._pipe = reads
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=writes if piped else theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **env},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        if piped:
            os.close(writes)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen as they are now, without the blanks behind them and the empty ones below."""
        self._read()
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        """The screen as it is now."""
        return "\n".join(self.lines)

    def shows(self, *words: str) -> str:
        """Wait until the screen shows all these words, and return it."""
        return self.until(lambda text: all(word in text for word in words), what=f"{words} on the screen")

    def until(self, holds: Callable[[str], bool], *, what: str) -> str:
        """Wait until the screen is as it should be, and return it."""
        try:
            wait_until_sync(lambda: holds(self.text), 30, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.text}") from None
        return self.text

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the kernel tells the command."""
        self._read()
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def press_ctrl_c(self) -> None:
        """Press Ctrl-C: the terminal makes it a signal."""
        os.write(self._ours, b"\x03")

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def ends(self) -> int:
        """Wait for the end of the command, while its terminal takes what it writes, and return the exit code."""
        wait_until_sync(self._has_ended, 30, what="its end")
        self._read()
        return self.process.wait(0)

    def piped(self) -> str:
        """Return what it has written to its stdout, if that is a pipe; after its end."""
        with os.fdopen(self._pipe, "rb") as pipe:
            self._pipe = -1
            return pipe.read().decode()

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(patient(10))
        for descriptor in {self._ours, self._pipe} - {-1}:
            os.close(descriptor)

    def _has_ended(self) -> bool:
        self._read()
        return self.process.poll() is not None

    def _read(self) -> None:
        while select.select([self._ours], [], [], 0)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # its other end is closed
                return
            self.raw += data
            self._stream.feed(data)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
