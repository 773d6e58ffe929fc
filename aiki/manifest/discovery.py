"""Own which manifest is obeyed: the file that was named, `AIKI_MANIFEST`, then `aiki.yaml` here or above.

A user's own settings are found in one folder alone, and obeyed by the same rule; those of somebody else, whose home
somebody has for now, are not read.

A manifest has code run and says where commands connect. One that was named is obeyed as it is. One that was only found
is obeyed if nobody but us, root and the person behind `sudo` can have written it or put it there: it, the folder that
it lies in, and a link that leads to it must be theirs, with no right for others to write. Folders above that one do not
matter: what somebody put in its place is somebody's own, and refused for that. Nor does what its `path` names: that is
the word of its owner. It is opened once, judged by what is open, and read from there: nothing can be swapped between.

This imports little of the rest: most commands find no manifest, and need not pay for a YAML parser.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aiki.core.ownership import account_name, objection, trusted_owners
from aiki.core.variables import variable

FILE_NAME: Final = "aiki.yaml"
USER_FILE_NAME: Final = "config.yaml"
USER_VARIABLE: Final = "AIKI_USER_CONFIG"
"""Not AIKI_CONFIG: that names the settings of a daemon."""
MANIFEST_BYTES: Final = 256 * 1024
_SEARCH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)
"""A folder above may be open for passing through alone."""


@dataclass(frozen=True)
class Source:
    """A manifest's file and what it holds; of a file that is too long as much as shows it."""

    file: Path
    raw: bytes


def find(named: Path | None, environment: Mapping[str, str], directory: Path | None) -> Source | None:
    """Return the manifest, or None if none was named and the folders from `directory` upward, if any, hold none.

    The search ends at a repository's root, at home, and where something is mounted. Raises ConfigError if the file
    cannot be read, or was only found and may be a stranger's.
    """
    if named is not None:
        return read(named)
    if from_environment := environment.get("AIKI_MANIFEST"):
        return read(Path(from_environment))
    if directory is None:
        return None
    trusted = trusted_owners()
    for folder in upward(directory, environment):
        if source := _found_in(folder, FILE_NAME, trusted):
            return source
    return None


def find_user(environment: Mapping[str, str], folder: Path | None) -> Source | None:
    """Return a user's own settings: the file that is named, else the one in `folder`; None if there is none.

    Raises ConfigError if it cannot be read, or others may have written it.
    """
    if named := variable(environment, USER_VARIABLE):
        return read(Path(named), what="the settings")
    if folder is None:
        return None
    file, trusted = folder / USER_FILE_NAME, trusted_owners()
    try:
        if file.lstat().st_uid not in trusted:
            return None
    except OSError:
        return None
    return _found_in(folder, USER_FILE_NAME, trusted)


def read(file: Path, *, what: str = "the manifest") -> Source:
    """Return what stands in a file that was named. Raises ConfigError if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return Source(file, stream.read(MANIFEST_BYTES + 1))
    except OSError as error:
        raise _unreadable(file, error, what) from error


def upward(directory: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders of a project, from `directory` up to a repository's root, home, or what is mounted."""
    return _upward(directory.resolve(), _homes(environment))


def _upward(here: Path, homes: frozenset[Path]) -> Iterator[Path]:
    for folder in (here, *here.parents):
        yield folder
        if folder in homes or os.path.lexists(folder / ".git") or os.path.ismount(folder):
            return


def _homes(environment: Mapping[str, str]) -> frozenset[Path]:
    homes = [environment["HOME"]] if environment.get("HOME") else []
    with suppress(KeyError):  # an account without an entry
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    return frozenset(Path(os.path.realpath(home)) for home in homes)


def _found_in(folder: Path, name: str, trusted: frozenset[int]) -> Source | None:
    file = folder / name
    try:
        with _opened(folder, _SEARCH_ONLY | os.O_DIRECTORY) as inside:
            entry = os.stat(name, dir_fd=inside, follow_symlinks=False)
            if not (stat.S_ISREG(entry.st_mode) or stat.S_ISLNK(entry.st_mode)):
                return None
            # Before it is followed: to open what a stranger's link leads to may do harm already.
            _refuse_planted(file, entry, inside, trusted)
            with _opened(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=inside) as descriptor:
                return _judged(file, descriptor, trusted, linked=stat.S_ISLNK(entry.st_mode))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if not os.path.lexists(file):
            return None  # a folder that we may not look into
        raise _unreadable(file, error, "the manifest" if name == FILE_NAME else "the settings") from error


def _refuse_planted(file: Path, entry: os.stat_result, folder: int, trusted: frozenset[int]) -> None:
    if entry.st_uid not in trusted:
        raise _refusal(file, entry, "it belongs to somebody else")
    if reason := objection(folder, trusted):
        raise _refusal(file, entry, f"its folder {reason}")


def _judged(file: Path, descriptor: int, trusted: frozenset[int], *, linked: bool) -> Source | None:
    """Return what the open file holds; None if it is none. Raises ConfigError if others may have written it."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return None
    if reason := objection(descriptor, trusted):
        raise _refusal(file, found, f"it {reason}")
    if linked:
        target = Path(os.path.realpath(file))
        with _opened(target.parent, _SEARCH_ONLY | os.O_DIRECTORY) as folder:
            if reason := objection(folder, trusted):
                raise _refusal(file, found, f"it is a link, and the folder {target.parent} {reason}")
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        return Source(file, stream.read(MANIFEST_BYTES + 1))


@contextmanager
def _opened(path: Path | str, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refusal(file: Path, found: os.stat_result, reason: str) -> ConfigError:
    path = shlex.quote(str(file))
    named = f"-f {path}   (or AIKI_MANIFEST)" if file.name == FILE_NAME else f"export {USER_VARIABLE}={path}"
    return ConfigError(
        f"{file} (owner: {account_name(found.st_uid)}) was found and is not obeyed: {reason}",
        hint=f"if you trust it, name it: {named}",
    )


def _unreadable(file: Path, error: OSError, what: str) -> ConfigError:
    return ConfigError(f"cannot read {what} {file} ({error.strerror})")
