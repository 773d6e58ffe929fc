"""Commands whose stderr comes to harm: a pipe without a reader or full, a terminal that is closed, a full disk."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.servers import descendants
from tests.waiting import patient

_CLOSED: Final = {"closed": (2,), "no stdout": (1,), "no stdin": (0,), "no streams": (0, 1, 2)}


class Stderr:
    """A stderr of some kind for one process, which gets `descriptor`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._ours, self.descriptor = pty.openpty() if kind == "terminal" else os.pipe()
        if kind == "full":
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 4096)
            os.write(self.descriptor, b"x" * fcntl.fcntl(self.descriptor, fcntl.F_GETPIPE_SZ))
        elif kind == "disk":
            disk = os.open("/dev/full", os.O_WRONLY)
            os.dup2(disk, self.descriptor)
            os.close(disk)

    def prepare(self) -> None:
        """Do what only the new process can do."""
        for descriptor in _CLOSED.get(self.kind, ()):
            os.close(descriptor)
        if self.kind == "terminal":
            fcntl.ioctl(2, termios.TIOCSCTTY, 0)

    def leave(self) -> None:
        """Close the reader's end. The kernel hangs up a terminal's session."""
        os.close(self._ours)
        self._ours = -1

    def read(self) -> str:
        """Return what can be read now."""
        return os.read(self._ours, 65536).decode() if select.select([self._ours], [], [], 0)[0] else ""

    def type(self, text: str) -> None:
        """Type something at the terminal."""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        for descriptor in {self._ours, self.descriptor} - {-1}:
            os.close(descriptor)


class Command:
    """A command with such a stderr, in a session of its own."""

    def __init__(self, command: list[str], stderr: Stderr, env: Mapping[str, str], cwd: Path) -> None:
        self._ready, theirs = os.pipe()
        self.stderr = stderr
        self.said = ""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr.descriptor,
            env={**env, "AIKI_READY_FD": str(theirs)},
            cwd=cwd,
            pass_fds=[theirs],
            start_new_session=True,
            preexec_fn=stderr.prepare,
        )
        os.close(theirs)

    def wait_ready(self) -> None:
        """Wait until a worker says that it serves, as those do who start one."""
        assert select.select([self._ready], [], [], patient(30))[0]
        assert os.read(self._ready, 1) == b"1", "it ended"

    def says(self, text: str) -> bool:
        """Tell whether it has said that."""
        self.said += self.stderr.read()
        return text in self.said

    def ends(self, seconds: float = 8.0) -> int:
        """Wait for its end and return the exit code; eight seconds are enough where there is nothing to drain."""
        return self.process.wait(patient(seconds))

    def close(self) -> None:
        for pid in (self.process.pid, *descendants(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(patient(10))
        self.stderr.close()
        os.close(self._ready)
