"""The manifest `aiki.yaml`: which modules hold workflows, and how clients and workers run. Strict, and never code.

What reads YAML is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from aiki.manifest.discovery import FILE_NAME, Source, find

if TYPE_CHECKING:
    from aiki.manifest.fields import seconds
    from aiki.manifest.format import ClientSettings, Manifest, WorkerSettings, load, parse
    from aiki.manifest.modules import module_folders, resolve

__all__ = [
    "FILE_NAME",
    "ClientSettings",
    "Manifest",
    "Source",
    "WorkerSettings",
    "find",
    "load",
    "module_folders",
    "parse",
    "resolve",
    "seconds",
]

_LATER: Final = {
    "ClientSettings": "format",
    "Manifest": "format",
    "WorkerSettings": "format",
    "load": "format",
    "module_folders": "modules",
    "parse": "format",
    "resolve": "modules",
    "seconds": "fields",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
