"""The manifest `aiki.yaml`: which modules hold workflows, and how clients and workers run. Strict, and never code."""

from aiki.manifest.discovery import FILE_NAME, find, load
from aiki.manifest.fields import seconds
from aiki.manifest.format import ClientSettings, Manifest, WorkerSettings, parse
from aiki.manifest.modules import prepare_path, resolve

__all__ = [
    "FILE_NAME",
    "ClientSettings",
    "Manifest",
    "WorkerSettings",
    "find",
    "load",
    "parse",
    "prepare_path",
    "resolve",
    "seconds",
]
