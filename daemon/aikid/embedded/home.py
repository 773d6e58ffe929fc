"""Own the data folder: who may use it, who the servers run as, and where they live if that account cannot enter it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aikid.embedded import binaries
from aikid.embedded.binaries import can_enter, make_system_folder, system_folder
from aikid.embedded.child import Account
from aikid.embedded.folder import Folder, refusal

RECORD: Final = "home"
"""The file in the data folder that names the servers' folder, where that is another one."""
_NOBODY_ID: Final = 65534


@dataclass(frozen=True)
class Home:
    """Where the embedded servers keep their data, and the account that they run as."""

    data: Folder
    """What `--data-dir` names."""
    folder: Folder
    account: Account

    @property
    def elsewhere(self) -> bool:
        """Whether the servers' folder is not the data folder itself."""
        return self.folder != self.data


@contextmanager
def open_home(data_dir: Path) -> Iterator[Home]:
    """Hold `data_dir` for this process alone; make it if it is missing.

    Raises ConfigError if another aikid holds it, or if it cannot be used, or if others may have put something into it.
    Nothing that existed before is chmodded.
    """
    data = Folder(data_dir.absolute())
    _make(data)
    with _locked(data):
        home = _settle(data)
        if not home.elsewhere:
            yield home
        else:
            with _locked(home.folder):
                yield home


def account_for(data_dir: Path) -> Account:
    """Return who would run the servers of `data_dir`, without touching it. Raises ConfigError if nobody would."""
    data = Folder(data_dir.absolute())
    try:
        return _account(_recorded(data) or data)
    except FileNotFoundError:
        return _nobody_or_us()


def _make(data: Folder) -> None:
    # Root's folder is one to pass through, for the servers' account.
    try:
        made = data.make(mode=0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise ConfigError(
            f"cannot make the data folder {data.path}: {error.strerror}", hint="--data-dir DIR"
        ) from error
    if made:
        data.write(".gitignore", "*\n")


def _settle(data: Folder) -> Home:
    """Return the servers' folder for the data folder, and who runs them there."""
    if folder := _recorded(data):
        return Home(data, folder, _account(folder))
    account = _account(data)
    if can_enter(data.path.resolve(), account):
        return Home(data, data, account)
    real = data.path.resolve()
    digest = hashlib.blake2b(os.fsencode(real), digest_size=4).hexdigest()
    project = re.sub(r"[^A-Za-z0-9._-]", "_", real.parent.name) or "root"
    folder = make_system_folder(f"{project}-{digest}")
    data.write(RECORD, f"{folder.path}\n")
    return Home(data, folder, account)


def _recorded(data: Folder) -> Folder | None:
    """Return the folder that the data folder's record names, if there is one and we are root.

    Raises ConfigError if the record is not ours, or names what we do not make.
    """
    if os.geteuid() != 0 or (text := data.read(RECORD)) is None:
        return None
    record, path = data.path / RECORD, Path(text.strip())
    if path.parent != binaries.SYSTEM_HOME or path.name in {"", "..", binaries.PROGRAMS}:
        raise refusal(record, f"names {path}, which is no folder of ours in {binaries.SYSTEM_HOME}")
    folder = system_folder(path.name)
    try:
        with folder.opened():
            return folder
    except FileNotFoundError as error:
        raise ConfigError(
            f"{record} says that the servers' data is in {path}, and that is gone",
            hint=f"restore it, or delete {data.path} to begin anew",
        ) from error


def _account(folder: Folder) -> Account:
    """Return who runs the servers in `folder`: ourselves; for root the folder's owner, or `nobody` if that is root."""
    if os.geteuid() == 0:
        with folder.opened() as descriptor:
            owner = os.fstat(descriptor)
        if owner.st_uid != 0:  # the person behind `sudo`
            return Account(owner.st_uid, owner.st_gid)
    return _nobody_or_us()


def _nobody_or_us() -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_NOBODY_ID, _NOBODY_ID)
    return Account(nobody.pw_uid, nobody.pw_gid)


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """Hold `folder`/lock. The kernel lets it go when the process ends, however it ends."""
    with folder.file("lock", os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise ConfigError(
                f"another aikid (process {holder or 'unknown'}) uses {folder.path}",
                hint="use that one, stop it first, or choose another --data-dir",
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
