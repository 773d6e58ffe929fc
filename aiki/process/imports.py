"""Own where the modules of users are looked for: first of all, and never in the way of those that Python starts with.

A `token.py` beside the flows would be imported in place of Python's own by whatever comes first in a new process: by
Python's `traceback`, before a line of ours. So the folders stand behind Python's own modules on `sys.path`, and what
is imported from then on, here, looks into them before it looks there. Children that others start find them, too.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

_PYTHONS_OWN: Final = str(Path(os.__file__).parent)
_INSTALLED: Final = ("site-packages", "dist-packages")


def look_first_in(folders: Sequence[str]) -> None:
    """Look for modules in `folders` first from now on, for good.

    Only what is about to import the user's modules may do so, and last of all: what we import ourselves comes from
    there too from now on.
    """
    sys.path[:] = behind_pythons_own(folders)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _First)]
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(place, _First(folders))
    importlib.invalidate_caches()


@contextmanager
def looking_first_in(folders: Sequence[str]) -> Iterator[None]:
    """Look for modules in `folders` first as long as this goes on: what we import ourselves afterwards is ours."""
    path, finders = sys.path[:], sys.meta_path[:]
    look_first_in(folders)
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = path, finders


def first_folders() -> list[str]:
    """Return the folders that this process looks into first."""
    return [folder for finder in sys.meta_path if isinstance(finder, _First) for folder in finder.folders]


def behind_pythons_own(folders: Sequence[str]) -> list[str]:
    """Return `sys.path` with `folders` behind the last entry of Python's own."""
    others = [entry for entry in sys.path if entry not in folders]
    own = [place for place, entry in enumerate(others) if _is_pythons_own(entry)]
    end = own[-1] + 1 if own else 0
    return [*others[:end], *folders, *others[end:]]


def hiding() -> list[str]:
    """Return the files of users' modules that were imported in place of Python's own ones of that name."""
    found = [module for name, module in list(sys.modules.items()) if name in sys.stdlib_module_names]
    return [file for module in found if (file := _file_of(module)) and _is_among(file, first_folders())]


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def _is_among(file: str, folders: Sequence[str]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders) and not _is_pythons_own(file)


def _is_pythons_own(path: str) -> bool:
    return path.startswith(_PYTHONS_OWN) and not any(part in _INSTALLED for part in Path(path).parts)


class _First:
    """Finds modules in some folders, as Python's own finder would if they stood first."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(folders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module is; None leaves it to the finders behind this one."""
        if path is not None:  # inside a package
            return None
        spec = PathFinder.find_spec(name, self.folders, target)
        # A folder without an __init__.py counts only if there is no such module anywhere.
        return spec if spec is not None and spec.loader is not None else None
