"""Own a process of our own programs, with its output in files.

It dies with the test process (`PR_SET_PDEATHSIG`) even if that is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers import warm
from tests.servers.process import READY_SECONDS, Process
from tests.waiting import patient, wait_until_sync


class Program(Process):
    """A process of our own, such as an aikid, with its output in files."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        name: str,
        env: Mapping[str, str],
        cwd: Path,
        can_be_warm: bool = True,
    ) -> None:
        """`can_be_warm` is false where a test is about the start itself, from the interpreter's first statement on."""
        super().__init__()
        self._is_warm = can_be_warm and warm.suits(command, env)
        self.command = list(command)
        self.env = dict(env)
        self.cwd = cwd
        self.out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"

    def start(self) -> None:
        """Start it; it is not waited for."""
        kernel = ctypes.CDLL(None) if sys.platform == "linux" else None
        with self.out.open("wb") as out, self.log.open("wb") as log:
            if self._is_warm:
                with Path(os.devnull).open("rb") as nothing:
                    self.process = warm.start(self.command, [nothing, out, log], env=self.env, cwd=self.cwd)
                return
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=(lambda: kernel.prctl(1, int(signal.SIGKILL))) if kernel else None,
            )

    def logged(self) -> str:
        """Return what it wrote to stderr since it was started."""
        return self.log.read_text(errors="replace")

    def printed(self) -> str:
        """Return what it wrote to stdout since it was started."""
        return self.out.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Wait until its log holds `text`. Raises AssertionError with the log if it ends before, or never says it."""

        def said() -> bool:
            if text in self.logged():
                return True
            assert self.running, (
                f"{self.command[0]} ended with {self.process and self.process.returncode}:\n{self.logged()}"
            )
            return False

        try:
            wait_until_sync(said, seconds, what=f"{text!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logged()}") from None

    def terminate(self, number: signal.Signals = signal.SIGTERM, seconds: float = READY_SECONDS) -> int:
        """Send `number`, wait for the end and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._reap()
            raise AssertionError(
                f"{self.command[0]} did not end within {patient(seconds):g} s:\n{self.logged()}"
            ) from None

    def wait(self, seconds: float = READY_SECONDS) -> int:
        """Wait for its end and return the exit code. Raises TimeoutExpired."""
        assert self.process is not None
        code = self.process.wait(patient(seconds))
        self.process = None
        return code

    def close(self) -> None:
        """End it at once, if it runs."""
        if self.running:
            self.kill9()
        self.process = None
