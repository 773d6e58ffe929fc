"""Own what is said of runs that were enqueued: one, or one per row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki import AikiError


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A run that was enqueued."""

    id: str
    created: bool
    """False if its key had a run already: then it is that one."""


@dataclass(frozen=True, slots=True)
class EnqueuedRow:
    """A row whose run was enqueued."""

    line: int
    """Where the row stands in the file, from 1."""
    key: str | None
    id: str
    created: bool


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was refused, and why."""

    line: int
    key: str | None
    error: AikiError


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was refused, and why."""

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class EnqueuedRows:
    """What became of the rows of a file."""

    rows: int
    created: int
    existing: int
    """Rows whose key had a run already."""
    refused: Sequence[RefusedLine]
