"""Own what is said of runs that were exported to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki import State


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run that is in the file."""

    id: str
    state: State
    workflow: str
    version: str
    entries: int
    """How many its journal has."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of runs that was written."""

    file: str
    runs: int
    entries: int
    ids: Sequence[str]
