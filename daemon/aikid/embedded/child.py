"""Own how one server process is started, recognised and ended.

It never restarts anything (`supervisor` does) and never touches a process whose command line it has not checked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from aiki.core.errors import ConfigError
from aiki.process.parent import die_with

LOG_BYTES: Final = 10_000_000
"""A server's log that is larger when the server starts is begun anew; the old one is kept beside it."""


@dataclass(frozen=True)
class Account:
    """Who a server runs as."""

    uid: int
    gid: int

    @property
    def drops(self) -> bool:
        """Whether a process of this account must first give up root."""
        return os.geteuid() == 0 and self.uid != 0

    def give(self, path: Path) -> None:
        """Make `path`, which this process has just made, belong to the account. Raises ConfigError if it cannot."""
        if not self.drops:
            return
        try:
            os.chown(path, self.uid, self.gid)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be given to uid {self.uid}, who must run the servers: {error.strerror}",
                hint="choose a --data-dir on a local disk, or run as a plain user",
            ) from error


class Server(Protocol):
    """What `supervisor` needs to know of a server."""

    name: str
    log: Path
    stop_signal: signal.Signals
    """Ends it cleanly: sent by us, and by the kernel if we die."""
    kill_signal: signal.Signals
    """Ends it at once, if the clean way takes too long."""

    def prepare(self) -> None:
        """Make its folder ready and end an orphan that still runs on it. Blocks for up to some seconds."""

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it. Call this from the main thread: the kernel ties a child's life to the thread that made it."""

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it answers."""


def spawn(
    command: Sequence[str | Path], *, account: Account, log: Path, cwd: Path, death_signal: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start `command` as `account`, with both outputs appended to `log`.

    The child is in a session of its own, so that Ctrl-C reaches us alone and we end it in order. If we die it
    gets `death_signal` (Linux; elsewhere the next start ends the orphan). Raises ConfigError if it cannot be started.
    """
    parent = os.getpid()
    try:
        _rotate(log)
        # Private: Postgres quotes rows, and with them payloads, when it refuses one.
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as output, warnings.catch_warnings():
            # From 3.12 on Python warns of forks beside threads; what runs between this fork and its exec takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=server_environment(),
                start_new_session=True,
                # Runs after the change of user: that change would clear the death signal.
                preexec_fn=lambda: die_with(parent, death_signal),
                user=account.uid if account.drops else None,
                group=account.gid if account.drops else None,
                extra_groups=[] if account.drops else None,
            )
    except OSError as error:
        raise ConfigError(f"cannot start {command[0]} as uid {account.uid}: {error}") from error


def run(command: Sequence[str | Path], *, account: Account, cwd: Path) -> str:
    """Run `command` as `account` to its end and return its output; if we die, it is killed.

    Raises ConfigError with the output if it fails.
    """
    parent = os.getpid()
    try:
        done = subprocess.run(
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=server_environment(),
            check=False,
            text=True,
            errors="replace",
            timeout=120,
            preexec_fn=lambda: die_with(parent, signal.SIGKILL),
            user=account.uid if account.drops else None,
            group=account.gid if account.drops else None,
            extra_groups=[] if account.drops else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"cannot run {command[0]} as uid {account.uid}: {error}") from error
    if done.returncode != 0:
        raise ConfigError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def server_environment() -> dict[str, str]:
    """Return the environment of the servers: no PG* variable of the user's, and a locale that always exists."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def end(process: subprocess.Popen[bytes], *, first: signal.Signals, then: signal.Signals, seconds: float) -> None:
    """End a child: `first`, after `seconds` `then`, after as many again SIGKILL. Blocks; reaps it."""
    for number in (first, then, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def end_orphan(pid: int, *, is_ours: Callable[[int], bool], first: signal.Signals, then: signal.Signals) -> None:
    """End a server that an earlier aikid left behind; return at once if `pid` is not (or no longer) it.

    Raises ConfigError if it is ours and cannot be ended.
    """
    for number, seconds in ((first, 10.0), (then, 5.0), (signal.SIGKILL, 5.0)):
        if not is_ours(pid):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise ConfigError(
                f"process {pid} still runs on this data and belongs to another user", hint=f"sudo kill {pid}"
            ) from error
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_ours(pid):
                return
            time.sleep(0.02)
    raise ConfigError(f"process {pid} still runs on this data and does not end", hint=f"kill -9 {pid}")


def command_line(pid: int) -> list[str]:
    """Return the arguments of a live process; empty if there is none, or it has ended and waits to be reaped."""
    try:
        return [word.decode(errors="replace") for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return []
    except (ProcessLookupError, PermissionError):
        return []
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return shown.stdout.split()


def last_lines(log: Path, count: int = 5) -> str:
    """Return the end of a server's log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _rotate(log: Path) -> None:
    try:
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(log.name + ".1"))
    except FileNotFoundError:
        return
