"""Own `@last`, the run that this terminal enqueued last: a file for each terminal, address and namespace.

It is a convenience: what cannot be written is not, and no command fails for that. Who asks for what cannot be read is
told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiki import NotFound
from aiki.core.addresses import shown
from aiki.core.ownership import objection, trusted_owners
from aiki.core.variables import variable
from aiki_cli.folders import state_folder

if TYPE_CHECKING:
    from aiki import Client

WORD: Final = "@last"
KEPT_SECONDS: Final = 30 * 86_400.0
"""What no terminal has written for so long goes when another one writes its first."""
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_BYTES: Final = 36
_START: Final = 19
"""Where /proc/PID/stat has a process's start, counted behind its name (proc_pid_stat(5): field 22)."""


def remember(client: Client, run_id: str) -> None:
    """Keep the run as the one that this terminal enqueued last there. Never raises, and never waits."""
    with contextlib.suppress(OSError):
        if (file := _file(client)) is None:
            return
        for folder in (file.parent.parent, file.parent):
            _make(folder)
        if not file.exists():
            _forget_old(file.parent)
        # Another command may read it at this moment: it must never see half of it.
        fresh = file.with_suffix(f".{os.getpid()}")
        try:
            with open(fresh, "x", opener=_for_us_alone) as kept:
                kept.write(run_id)
            fresh.replace(file)
        except OSError:
            fresh.unlink(missing_ok=True)


def last_run(client: Client) -> str:
    """Return the run that this terminal enqueued last there. Raises NotFound if none is known."""
    where = f"{shown(client.transport.url)}, namespace {client.transport.namespace}"
    file = _file(client)
    if file is None:
        raise _unknown(f"there is no folder to keep it in for {where}")
    try:
        found = _read(file)
    except FileNotFoundError:
        raise _unknown(f"this terminal has enqueued no run at {where}") from None
    except OSError as error:
        raise _unknown(f"{file} cannot be read ({error.strerror})") from error
    if not _ID.fullmatch(found):
        raise _unknown(f"{file} holds no run id")
    return found


def _read(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as kept:
        if why := objection(descriptor, trusted_owners()):
            raise _unknown(f"{file} {why}")
        return kept.read(_ID_BYTES + 1).decode("ascii", errors="replace")


def _unknown(why: str) -> NotFound:
    return NotFound(f"{WORD} stands for no run: {why}", hint="aiki run list")


def _file(client: Client) -> Path | None:
    """Return the file of this terminal for where the client is connected; None if there is no folder for it."""
    folder = state_folder()
    if folder is None:
        return None
    place = "\0".join([terminal(), shown(client.transport.url), client.transport.namespace])
    return folder / "last" / hashlib.blake2b(place.encode(errors="replace"), digest_size=16).hexdigest()


def terminal() -> str:
    """Return what tells this terminal from all others, those before it on the same device too.

    It is the session of the terminal: its first process, by id and start. Without a terminal, as in a job of CI, it is
    the process that started us, which mostly is the job's shell; AIKI_TERMINAL gives it a name that several share.
    """
    if named := variable(os.environ, "AIKI_TERMINAL"):
        return f"named {named}"
    boot = _text("/proc/sys/kernel/random/boot_id")
    if not _has_terminal():
        return f"parent {os.getppid()} {_started(os.getppid())} {boot}"
    leader = os.getsid(0)
    return f"session {leader} {_started(leader)} {boot}"


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _started(pid: int) -> str:
    """Return when a process began, so that another one with its id is not taken for it; empty if nobody says."""
    # Its name may hold spaces and brackets; what stands behind it holds neither.
    behind = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return behind[_START] if len(behind) > _START else ""


def _text(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace").strip()
    except OSError:
        return ""


def _forget_old(folder: Path) -> None:
    before = time.time() - KEPT_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    Path(entry.path).unlink()


def _make(folder: Path) -> None:
    """Make the folder for us alone, unless it is there; whatever the umask is, we must get into it again."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)


def _for_us_alone(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode=0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
