"""Own a folder of the servers: nothing in it is used that others may have put there, and no link is followed.

Root may run the servers in a folder that somebody else prepared. So no path is trusted: a folder is opened, each name
in it is opened in what is open, judged there (its kind, its owner, who else may write it, its other names), and read or
written there. What is made belongs to the folder's owner, and nobody else may enter or read it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aiki.core.ownership import account_name, objection, trusted_owners

READ_BYTES: Final = 64 * 1024
"""What we read is a few lines."""
_CAREFULLY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True)
class Folder:
    """A folder by its path, or by its name in `parent`; it and all in it must belong to one of `owners`.

    Every method raises ConfigError where it meets something that others may have put there; those that need the folder
    raise FileNotFoundError if it is missing.
    """

    path: Path
    owners: frozenset[int] = field(default_factory=trusted_owners)
    parent: Folder | None = None

    def inside(self, name: str, owner: int) -> Folder:
        """Return the folder `name` in this one; it and all in it must belong to `owner`, or to root."""
        return Folder(self.path / name, frozenset({owner, 0}), self)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the folder for the length of the context."""
        with (
            self.parent.opened() if self.parent else nullcontext() as above,
            _opened(self.path, _FOLDER, self.owners, above) as descriptor,
        ):
            yield descriptor

    def make(self, *, mode: int = 0o700, owner: tuple[int, int] | None = None) -> bool:
        """Make it with exactly `mode` for an account, unless it is there, and tell whether it was missing.

        One of ours that was not yet given to the account is given now. Raises OSError if it cannot be made or given.
        """
        us = os.geteuid()
        with self.parent.opened() if self.parent else nullcontext() as above:
            made = _make_folder(_name(self.path, above), above)
            with _opened(self.path, _FOLDER, self.owners, above) as descriptor:
                if owner is not None and owner[0] != us and os.fstat(descriptor).st_uid == us:
                    os.fchown(descriptor, *owner)
                if made:
                    os.fchmod(descriptor, mode)  # whatever the umask
        return made

    def has(self, name: str) -> bool:
        """Tell whether something of that name is there, of whatever kind."""
        with self.opened() as inside:
            return _entry(name, inside) is not None

    @contextmanager
    def file(self, name: str, flags: int) -> Iterator[int]:
        """Open the file `name` for the length of the context; with O_CREAT it is made if it is missing.

        Raises FileNotFoundError if it is missing.
        """
        path = self.path / name
        with self.opened() as inside:
            if flags & os.O_CREAT:
                _create(path, inside)
            with _opened(path, flags & ~os.O_CREAT, self.owners, inside) as descriptor:
                yield descriptor

    def read(self, name: str) -> str | None:
        """Return the text of a small file; None if it is missing."""
        with suppress(FileNotFoundError), self.file(name, os.O_RDONLY) as descriptor:
            return os.read(descriptor, READ_BYTES).decode(errors="replace")
        return None

    def write(self, name: str, text: str) -> None:
        """Put a file with `text` in the place of `name`, at once."""
        with suppress(FileNotFoundError), self.file(name, os.O_RDONLY):
            pass  # what is not ours is told, not replaced
        fresh = f"{name}.new"
        self.remove(fresh)
        with self.file(fresh, os.O_WRONLY | os.O_CREAT) as descriptor:
            os.write(descriptor, text.encode())
        self.rename(fresh, name)

    def rename(self, name: str, to: str) -> None:
        """Give what is called `name` another name, in the place of whatever has that."""
        with self.opened() as inside, _telling(self.path / name, "cannot be renamed"):
            os.rename(name, to, src_dir_fd=inside, dst_dir_fd=inside)

    def remove(self, name: str) -> None:
        """Remove a file or a link, if it is there."""
        with suppress(FileNotFoundError), self.opened() as inside, _telling(self.path / name, "cannot be removed"):
            os.unlink(name, dir_fd=inside)

    def remove_tree(self, name: str) -> None:
        """Remove a folder with all that is in it, if it is there; links are removed, never followed."""
        with suppress(FileNotFoundError), self.opened() as inside, _telling(self.path / name, "cannot be removed"):
            shutil.rmtree(name, dir_fd=inside)


def refusal(path: Path, reason: str) -> ConfigError:
    """Return the error that says why the servers do not use `path`."""
    return ConfigError(
        f"{path} {reason}: the embedded servers use nothing that others may have put there",
        hint="look at it; then remove it, or choose another --data-dir   (or AIKI_DATA_DIR)",
    )


@contextmanager
def _opened(path: Path, flags: int, owners: frozenset[int], above: int | None) -> Iterator[int]:
    """Open `path`, by its name in the folder `above` if there is one, and judge what is open."""
    name = _name(path, above)
    is_folder = bool(flags & os.O_DIRECTORY)
    try:
        descriptor = os.open(name, flags | _CAREFULLY, dir_fd=above)
    except FileNotFoundError:
        raise
    except OSError as error:
        if (found := _entry(name, above)) is not None:
            if reason := _wrong_kind(found, is_folder=is_folder):
                raise refusal(path, reason) from error
            if found.st_uid not in owners:
                raise refusal(path, f"belongs to {account_name(found.st_uid)}") from error
        raise _unusable(path, "cannot be opened", error) from error
    try:
        if reason := _wrong_kind(os.fstat(descriptor), is_folder=is_folder) or objection(descriptor, owners):
            raise refusal(path, reason)
        yield descriptor
    finally:
        os.close(descriptor)


def _make_folder(name: str | Path, above: int | None) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


def _create(path: Path, inside: int) -> None:
    """Make an empty file for the folder's owner, if nothing of that name is there."""
    with _telling(path, "cannot be made"):
        try:
            made = os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFULLY, 0o600, dir_fd=inside)
        except FileExistsError:
            return
        try:
            owner = os.fstat(inside)
            if owner.st_uid != os.geteuid():
                os.fchown(made, owner.st_uid, owner.st_gid)
            os.fchmod(made, 0o600)
        finally:
            os.close(made)


def _wrong_kind(found: os.stat_result, *, is_folder: bool) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if is_folder:
        return None if stat.S_ISDIR(found.st_mode) else "is no folder"
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    return "has another name elsewhere (a hard link)" if found.st_nlink > 1 else None


def _entry(name: str | Path, above: int | None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=False)
    except OSError:
        return None


def _name(path: Path, above: int | None) -> str | Path:
    return path if above is None else path.name


@contextmanager
def _telling(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, what, error) from error


def _unusable(path: Path, what: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} {what}: {error.strerror}", hint="run as the user who made it, or choose another --data-dir"
    )
