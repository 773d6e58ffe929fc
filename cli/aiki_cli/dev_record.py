"""Own the word that `aiki dev` leaves in its folder, by which other commands of the project find it.

Whoever may write it says where commands connect: one that may be a stranger's is passed over, and so is that of an
`aiki dev` that has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiki.core.ownership import objection, trusted_owners
from aiki.manifest import upward

FOLDER: Final = ".aiki"
FILE_NAME: Final = "dev.json"
_BYTES: Final = 4096
_HERE: Final = "127.0.0.1"
_PROBE_SECONDS: Final = 0.2
_OPEN: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_SEARCH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True)
class DevRecord:
    """An `aiki dev` and where it serves."""

    folder: Path
    """Where it was started."""
    url: str
    namespace: str
    pid: int

    @property
    def lives(self) -> bool:
        """Whether its process is there, and something listens at its address."""
        try:
            os.kill(self.pid, 0)
            port = urlsplit(self.url).port or 0
            socket.create_connection((_HERE, port), timeout=_PROBE_SECONDS).close()
        except (OSError, OverflowError, ValueError):
            return False
        return True


@contextmanager
def recorded(record: DevRecord) -> Iterator[None]:
    """Leave the word while the block runs; where that cannot be, nobody finds it by itself."""
    file = record.folder / FOLDER / FILE_NAME
    with contextlib.suppress(OSError):
        _write(file, record)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, _Stranger):
            if (found := _read(record.folder)) is not None and found.pid == record.pid:
                file.unlink()


def find(directory: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> DevRecord | None:
    """Return the nearest `aiki dev` that lives, from `directory` upward; with `say` it tells of one that it passes."""
    for folder in upward(directory, environment):
        try:
            found = _read(folder)
        except _Stranger as error:
            say(f"{folder / FOLDER / FILE_NAME} was passed over: {error}")
            continue
        except OSError:
            continue
        if found is not None and found.lives:
            return found
        if found is not None:
            say(f"the aiki dev of {folder} has ended: {found.url} is passed over")
    return None


class _Stranger(Exception):
    """Others may have written it."""


def _read(folder: Path) -> DevRecord | None:
    """Return what stands in the folder's record; None if it is none. Raises OSError, and _Stranger."""
    trusted = trusted_owners()
    # By what is open: nothing can be swapped between the look and the reading.
    inside = os.open(folder / FOLDER, _SEARCH_ONLY | os.O_DIRECTORY | _OPEN)
    try:
        descriptor = os.open(FILE_NAME, os.O_RDONLY | os.O_NONBLOCK | _OPEN, dir_fd=inside)
        with os.fdopen(descriptor, "rb") as stream:
            if why := objection(descriptor, trusted):
                raise _Stranger(f"it {why}")
            raw = stream.read(_BYTES)
        if why := objection(inside, trusted):
            raise _Stranger(f"its folder {why}")
    finally:
        os.close(inside)
    return _parsed(folder, raw)


def _parsed(folder: Path, raw: bytes) -> DevRecord | None:
    with contextlib.suppress(ValueError, RecursionError):
        match json.loads(raw):
            case {"url": str(url), "namespace": str(namespace), "pid": int(pid)} if pid > 0:
                if urlsplit(url).hostname == _HERE:
                    return DevRecord(folder, url, namespace, pid)
    return None


def _write(file: Path, record: DevRecord) -> None:
    said = {name: value for name, value in asdict(record).items() if name != "folder"}
    fresh = file.with_suffix(f".{record.pid}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with open(fresh, "x", opener=_for_us_alone) as made:
        made.write(json.dumps(said))
    fresh.replace(file)


def _for_us_alone(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode=0o600)
    os.fchmod(descriptor, 0o600)  # whatever the umask is
    return descriptor
