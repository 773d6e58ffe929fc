"""Own the start of our programs as forks of an interpreter that has imported them: a start costs a tenth of its CPU.

What comes of it is a process like any other, with a session, streams, a folder and an environment of its own, to be
killed and frozen at will. It is not for tests about the start itself, nor for a Python that is told something by
`PYTHON...`, which it wants to know before.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

PROGRAMS: Final = frozenset({"aiki_cli", "aikid", "tests.chaos.worker_main", "tests.chaos.enqueue_main"})
HASH_SEED: Final = {"PYTHONHASHSEED": "0"}
"""A worker that has another one starts once more."""
PR_SET_CHILD_SUBREAPER: Final = 36
_TOLD_BEFORE: Final = ("PYTHON", "LC_", "LANG", "TZ", "LD_")
_ZYGOTE: Final = Path(__file__).with_name("zygote.py")


class Warm:
    """A process that was forked for a test: what tests want of a `Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._descriptor)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code. Raises TimeoutExpired."""
        if self.returncode is None and not select.select([self._descriptor], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(["warm"], timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def suits(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Tell whether a command may be a fork: one of our programs, in a Python like this one."""
    return (
        sys.platform == "linux"
        and list(command[:2]) == [sys.executable, "-m"]
        and command[2] in PROGRAMS
        and env.get("PYTHONHASHSEED", "0") == "0"
        and _told(env) == _told(os.environ)
    )


def start(
    command: Sequence[str], streams: Sequence[IO[bytes]], *, env: Mapping[str, str], cwd: Path, session: bool = True
) -> Warm:
    """Start a command that suits, on stdin, stdout and stderr, by default in a session of its own."""
    told = {
        "module": command[2],
        "arguments": command[3:],
        "env": {**env, **HASH_SEED},
        "cwd": str(cwd.absolute()),
        "session": session,
    }
    zygote = _zygote(os.getpid()).socket
    _take_orphans(True)
    try:
        socket.send_fds(zygote, [json.dumps(told).encode()], [stream.fileno() for stream in streams])
        pid = int(zygote.recv(64))
        assert zygote.recv(64) == b"!", "the interpreter that forks has ended"
    finally:
        _take_orphans(False)
    return Warm(pid)


def run(
    command: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a fork where it can be one. Raises TimeoutExpired."""
    if not suits(command, env):
        done = subprocess.run(command, input=stdin, env=env, cwd=cwd, timeout=timeout, capture_output=True, check=False)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as said:
        given.write(stdin)
        given.seek(0)
        process = start(command, (given, out, said), env=env, cwd=cwd, session=False)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        texts = [_text(stream) for stream in (out, said)]
    return subprocess.CompletedProcess(command, code, *texts)


class _Zygote:
    """The one interpreter that forks for this process; it ends when its socket is closed."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", str(_ZYGOTE), str(theirs.fileno())]
        env = {**os.environ, **HASH_SEED}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=env)
        theirs.close()

    def close(self) -> None:
        self.socket.close()
        self._process.wait()


@cache
def _zygote(process: int) -> _Zygote:
    """Return that of this process, which may be a fork itself."""
    made = _Zygote()
    atexit.register(lambda: made.close() if os.getpid() == process else None)
    return made


def _take_orphans(taken: bool) -> None:
    """Let a process whose parent has ended become a child of this one: only so can a fork of a fork be waited for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(taken), 0, 0, 0)


def _told(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in {**env, **HASH_SEED}.items() if name.startswith(_TOLD_BEFORE)}


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()
