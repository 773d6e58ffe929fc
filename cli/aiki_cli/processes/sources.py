"""Own noticing that source files have changed, by their times and sizes: no watcher library is needed for that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

MOST_FILES: Final = 20_000
_SUFFIXES: Final = (".py", ".yaml", ".yml", ".toml", ".json")
_NOT_SOURCE: Final = {"__pycache__", "node_modules", "site-packages", "build", "dist", "venv"}


class Sources:
    """The source files below some folders, and some files beside them, as they were when asked last."""

    def __init__(self, folders: Sequence[Path], files: Sequence[Path] = ()) -> None:
        self._folders = folders
        self._files = [file.resolve() for file in files]
        self._seen = self._scan()

    def changed(self) -> list[Path]:
        """Return the files that appeared, vanished or changed since the last call."""
        now = self._scan()
        before, self._seen = self._seen, now
        return [Path(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)]

    def _scan(self) -> dict[str, tuple[int, int]]:
        found = {str(file): _stamp(file) for file in self._files}
        for folder in self._folders:
            for entry in _files(str(folder)):
                found[entry.path] = _stamp(entry)
                if len(found) >= MOST_FILES:
                    return found
        return found


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name in _NOT_SOURCE:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path)
                elif entry.name.endswith(_SUFFIXES):
                    yield entry
    except OSError:
        return  # it vanished, or is none of our business


def _stamp(entry: os.DirEntry[str] | Path) -> tuple[int, int]:
    try:
        stat = entry.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
