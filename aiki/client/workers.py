"""Own the workers of a namespace as a client sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A live worker session."""

    worker: str
    """Its name: given, or host and process."""
    session_id: str
    since: datetime
    seen_at: datetime
    """Its last renewal."""
    slots: int | None
    """Runs that it takes at once; None if it has not said so."""
    running: int
    """Runs that it holds."""
    draining: bool
    routes: Sequence[tuple[str, str]]
    """Workflows and versions that it serves: the first of them."""
    routes_total: int
