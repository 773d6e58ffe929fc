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
from typing import Any, Final, Protocol

from aiki.core.errors import ConfigError
from aiki.process.parent import die_with
from aikid.embedded.folder import READ_BYTES, Folder

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

    @property
    def ids(self) -> tuple[int, int]:
        """User and group, as `Folder.make` takes them."""
        return self.uid, self.gid


class Server(Protocol):
    """What `supervisor` needs to know of a server."""

    name: str
    home: Folder
    """Where its data and its log are."""
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
    command: Sequence[str | Path],
    *,
    account: Account,
    home: Folder,
    log: str,
    folder: Folder,
    death_signal: signal.Signals,
) -> subprocess.Popen[bytes]:
    """Start `command` as `account` in `folder`, with both outputs appended to the file `log` of `home`.

    What it opens by a relative path is in that folder, whatever somebody puts in the place of one above. The child is
    in a session of its own, so that Ctrl-C reaches us alone and we end it in order. If we die it gets `death_signal`
    (Linux; elsewhere the next start ends the orphan). Raises ConfigError if it cannot be started.
    """
    parent = os.getpid()
    try:
        _rotate(home, log)
        with (
            # Private: Postgres quotes rows, and with them payloads, when it refuses one.
            home.file(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as output,
            folder.opened() as inside,
            warnings.catch_warnings(),
        ):
            # From 3.12 on Python warns of forks beside threads; what runs between this fork and its exec takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=server_environment(),
                start_new_session=True,
                # Runs after the change of user: that change would clear the death signal.
                preexec_fn=lambda: _begin(inside, parent, death_signal),
                **_as(account),
            )
    except OSError as error:
        raise ConfigError(f"cannot start {command[0]} as uid {account.uid}: {error}") from error


def run(command: Sequence[str | Path], *, account: Account, folder: Folder) -> str:
    """Run `command` as `account` in `folder` to its end and return its output; if we die, it is killed.

    Raises ConfigError with the output if it fails.
    """
    parent = os.getpid()
    try:
        with folder.opened() as inside:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=server_environment(),
                check=False,
                text=True,
                errors="replace",
                timeout=120,
                preexec_fn=lambda: _begin(inside, parent, signal.SIGKILL),
                **_as(account),
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"cannot run {command[0]} as uid {account.uid}: {error}") from error
    if done.returncode != 0:
        raise ConfigError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def _as(account: Account) -> dict[str, Any]:
    """Return what tells `subprocess` who the child is; nobody else may read what it makes."""
    ids = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.drops else {}
    return {**ids, "umask": 0o077}


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


def last_lines(server: Server, count: int = 5) -> str:
    """Return the end of a server's log, for an error message."""
    try:
        with server.home.file(server.log.name, os.O_RDONLY) as descriptor:
            os.lseek(descriptor, max(os.fstat(descriptor).st_size - READ_BYTES, 0), os.SEEK_SET)
            text = os.read(descriptor, READ_BYTES).decode(errors="replace")
    except (ConfigError, OSError):
        return ""
    return "\n".join(text.splitlines()[-count:])


def _begin(folder: int, parent: int, number: signal.Signals) -> None:
    os.fchdir(folder)
    die_with(parent, number)


def _rotate(home: Folder, log: str) -> None:
    try:
        with home.file(log, os.O_RDONLY) as descriptor:
            size = os.fstat(descriptor).st_size
    except FileNotFoundError:
        return
    if size > LOG_BYTES:
        home.rename(log, f"{log}.1")
