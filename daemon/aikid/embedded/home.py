"""Own the data folder: who may use it, who the servers run as, and where they live if that account cannot enter it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aikid.embedded.binaries import can_enter, make_folder, make_system_folder
from aikid.embedded.child import Account

RECORD: Final = "home"
"""The file in the data folder that names the servers' folder, where that is another one."""
_NOBODY_ID: Final = 65534


@dataclass(frozen=True)
class Home:
    """Where the embedded servers keep their data, and the account that owns it."""

    folder: Path
    account: Account
    elsewhere: bool = False
    """Whether `folder` is not the data folder itself."""


@contextmanager
def open_home(data_dir: Path) -> Iterator[Home]:
    """Hold `data_dir` for this process alone; make it if it is missing.

    Raises ConfigError if another aikid holds it, or if it cannot be used. Nothing that existed before is chmodded.
    """
    data_dir = data_dir.absolute()
    _make(data_dir)
    with _locked(data_dir):
        home = _settle(data_dir.resolve())
        if not home.elsewhere:
            yield home
        else:
            with _locked(home.folder):
                yield home


def account_for(data_dir: Path) -> Account:
    """Return who would run the servers of `data_dir`, without touching it."""
    record = data_dir / RECORD
    folder = Path(record.read_text().strip()) if os.geteuid() == 0 and record.exists() else data_dir
    return _account(folder)


def _make(data_dir: Path) -> None:
    try:
        made = make_folder(data_dir, 0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise ConfigError(f"cannot make the data folder {data_dir}: {error.strerror}", hint="--data-dir DIR") from error
    if not data_dir.is_dir():
        raise ConfigError(f"{data_dir} is not a folder", hint="choose another --data-dir")
    if made:
        (data_dir / ".gitignore").write_text("*\n")


def _settle(data_dir: Path) -> Home:
    """Return the servers' folder for `data_dir` and who runs them there."""
    if os.geteuid() != 0:
        return Home(data_dir, _account(data_dir))
    record = data_dir / RECORD
    if record.exists():
        folder = Path(record.read_text().strip())
        if not folder.is_dir():
            raise ConfigError(
                f"{record} says that the servers' data is in {folder}, and that is gone",
                hint=f"restore it, or delete {data_dir} to begin anew",
            )
        return Home(folder, _account(folder), elsewhere=True)
    account = _account(data_dir)
    if can_enter(data_dir, account):
        return Home(data_dir, account)
    digest = hashlib.blake2b(os.fsencode(data_dir), digest_size=4).hexdigest()
    folder = make_system_folder(f"{data_dir.parent.name or 'root'}-{digest}")
    record.write_text(f"{folder}\n")
    return Home(folder, account, elsewhere=True)


def _account(folder: Path) -> Account:
    """Return who runs the servers in `folder`: ourselves; for root who owns its cluster, else `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for owned in (folder / "postgres", folder / "nats"):
        if owned.exists() and owned.stat().st_uid != 0:
            return Account(owned.stat().st_uid, owned.stat().st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_NOBODY_ID, _NOBODY_ID)
    return Account(nobody.pw_uid, nobody.pw_gid)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold `folder`/lock. The kernel lets it go when the process ends, however it ends."""
    path = folder / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write in {folder}: {error.strerror}",
            hint="run as the user who made it, or choose another --data-dir",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise ConfigError(
                f"another aikid (process {holder or 'unknown'}) uses {folder}",
                hint="use that one, stop it first, or choose another --data-dir",
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
