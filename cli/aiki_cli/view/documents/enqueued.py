"""Own what is said of runs that were enqueued: one, or one per row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiki import AikiError
from aiki_cli.view.documents.errors import OutcomeError


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


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What came of a row whose run was waited for."""

    line: int
    """Where the row stands in the file, from 1."""
    key: str | None
    id: str | None
    """Its run; null if the row was refused."""
    created: bool
    outcome: Literal["completed", "failed", "cancelled", "held", "timeout", "not_found", "refused"]
    """`held` is blocked or paused; `timeout` is that of the wait: the run goes on."""
    result: Any = None
    error: OutcomeError | None = None


@dataclass(frozen=True, slots=True)
class RowOutcomes:
    """What came of all rows, in the order in which it came."""

    rows: Sequence[RowOutcome]
