"""Own how many runs are in which state, as a client sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiki.client.wire import Wire
from aiki.client.workers import WorkerInfo
from aiki.core.states import State
from aiki.wire.messages import Summary


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How many runs of a workflow's version are in a state.

    Runs that have ended are counted to 10,000; if there are more, the count is `capped`.
    """

    workflow: str
    version: str
    state: State
    runs: int
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQueue:
    """What waits for a worker of a workflow's version."""

    workflow: str
    version: str
    queued: int
    capped: bool
    """Whether more than 10,000 wait."""
    oldest_at: datetime | None
    """Since when the one waits that waits longest."""
    workers: int
    """Live workers that serve it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRate:
    """What the last minutes have brought of a workflow, all its versions together."""

    workflow: str
    minutes: int
    """Of how many minutes these are."""
    enqueued: int
    completed: int
    failed: int
    cancelled: int
    p50: timedelta | None
    """Half of the runs that ended took no longer, from their enqueue or due time to their end."""
    p95: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTrouble:
    """Runs of a workflow's version that are blocked, or that failed in the last minutes."""

    workflow: str
    version: str
    state: State
    """blocked or failed."""
    runs: int
    run_id: str
    """The newest of them."""
    at: datetime
    error: str
    """Of that one, in one line."""


@dataclass(frozen=True, slots=True)
class NamespaceSummary:
    """The namespace at a glance."""

    counts: list[RouteCount]
    workers: int
    queues: Sequence[RouteQueue] = ()
    rates: Sequence[WorkflowRate] = ()
    troubles: Sequence[WorkflowTrouble] = ()
    sessions: Sequence[WorkerInfo] = ()
    """The first of the workers."""


async def summary(wire: Wire) -> NamespaceSummary:
    """Return how many runs are in which state, by workflow and version, and how many workers are alive."""
    counts: dict[tuple[str, str, State], RouteCount] = {}
    cursor: str | None = None
    while True:
        reply = await wire.call(Summary(cursor))
        for row in reply.rows:
            counts[row.workflow, row.version, row.state] = RouteCount(
                row.workflow, row.version, row.state, row.runs, row.capped
            )
        if (cursor := reply.cursor) is None:
            return NamespaceSummary([count for _, count in sorted(counts.items())], reply.workers)
