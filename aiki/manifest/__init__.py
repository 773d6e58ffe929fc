"""The manifest `aiki.yaml`: which modules hold workflows, and how clients and workers run. Strict, and never code.

What reads YAML is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from aiki.manifest.discovery import FILE_NAME, Source, find, find_user, upward

if TYPE_CHECKING:
    from aiki.manifest.durations import seconds
    from aiki.manifest.format import Manifest, WorkerSettings, load, parse
    from aiki.manifest.modules import module_folders, resolve
    from aiki.manifest.profiles import ClientSettings, Profile, UserSettings, parse_user

__all__ = [
    "FILE_NAME",
    "ClientSettings",
    "Manifest",
    "Profile",
    "Source",
    "UserSettings",
    "WorkerSettings",
    "find",
    "find_user",
    "load",
    "module_folders",
    "parse",
    "parse_user",
    "resolve",
    "seconds",
    "upward",
]

_LATER: Final = {
    "ClientSettings": "profiles",
    "Manifest": "format",
    "Profile": "profiles",
    "UserSettings": "profiles",
    "WorkerSettings": "format",
    "load": "format",
    "module_folders": "modules",
    "parse": "format",
    "parse_user": "profiles",
    "resolve": "modules",
    "seconds": "durations",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
