"""Own the processes of the demo: each in a session of its own, its output in a log, and all gone at the end."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_SECONDS = 20.0
BIN = Path(sys.executable).parent
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Processes:
    """`with Processes(...) as processes`: at the block's end all are stopped, the last one first."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._logs = logs
        self._started: dict[subprocess.Popen[bytes], str] = {}

    def __enter__(self) -> Self:
        return self

    def start(self, name: str, command: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
        """Start a command of this installation (`aikid`, `aiki`); its output goes to `name`.log."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [BIN / command[0], *command[1:]],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
                preexec_fn=_end_with_parent if _prctl else None,
            )
        self._started[process] = name
        return process

    def log(self, name: str) -> Path:
        """Return where the output of `name` goes."""
        return self._logs / f"{name}.log"

    def check(self) -> None:
        """Raise RuntimeError, with the end of its log, if a process has ended that should run."""
        for process, name in self._started.items():
            if process.poll() is not None:
                end = self.log(name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with exit code {process.returncode}:\n{end}")

    async def run(self, command: Sequence[str | Path]) -> list[str]:
        """Run a command to its end and return the lines of its stdout. Raises RuntimeError if it fails."""
        program = await asyncio.create_subprocess_exec(
            BIN / command[0], *command[1:], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, says = await program.communicate()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        if program.returncode:
            words = " ".join(map(str, command))
            raise RuntimeError(f"{words} failed with exit code {program.returncode}:\n{says.decode()}")
        return out.decode().splitlines()

    def kill9(self, process: "subprocess.Popen[bytes]") -> float:
        """Kill a process and all its children as a crash would; return the time of it, in seconds since the epoch."""
        killed_at = time.time()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        del self._started[process]
        return killed_at

    def stop(self, process: "subprocess.Popen[bytes]") -> int:
        """End a process with SIGTERM, or after 20 s with SIGKILL; return its exit code."""
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        del self._started[process]
        return process.returncode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while self._started:
                self.stop(list(self._started)[-1])
        finally:  # a second Ctrl-C
            for process in self._started:
                os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    """Return a port of the loopback address that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    assert _prctl is not None
    _prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG: even `kill -9` of the demo leaves nothing running
