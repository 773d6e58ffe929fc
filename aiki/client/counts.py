"""Own the summary of a namespace, as a client sees it: counts, queues, rates, and what is amiss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiki.client.wire import Wire
from aiki.client.workers import WorkerInfo, to_worker
from aiki.core.moments import to_datetime
from aiki.core.states import State
from aiki.wire.messages import QueueRow, RateRow, Summary, SummaryReply, TroubleRow


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How many runs of a workflow's version are in a state: counted to 10,000; if there are more, it is `capped`."""

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
    """Half of the runs that ended took no longer, from their enqueue or due time to their end; within 5 %."""
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
    capped: bool = False
    """Whether more than 10,000 are blocked."""


@dataclass(frozen=True, slots=True)
class NamespaceSummary:
    """The namespace at a glance."""

    counts: list[RouteCount]
    workers: int
    queues: Sequence[RouteQueue] = ()
    """Of each workflow's version that was ever enqueued or served."""
    rates: Sequence[WorkflowRate] = ()
    """Of workflows of which something was enqueued or has ended lately, as far as the daemons have said so."""
    troubles: Sequence[WorkflowTrouble] = ()
    """The newest first."""
    sessions: Sequence[WorkerInfo] = ()
    """The first 50 of the workers, by name."""


async def summary(wire: Wire) -> NamespaceSummary:
    """Return the namespace at a glance."""
    gathered = Gathered()
    while True:
        reply = await wire.call(Summary(gathered.cursor))
        if (found := gathered.add(reply)) is not None:
            return found


class Gathered:
    """A summary that comes in several replies."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        """What the next reply is to be asked for with."""
        self._counts: dict[tuple[str, str, State], RouteCount] = {}
        self._queues: dict[tuple[str, str], RouteQueue] = {}
        self._rates: dict[str, WorkflowRate] = {}
        self._troubles: dict[tuple[str, str, State], WorkflowTrouble] = {}
        self._sessions: list[WorkerInfo] = []

    def add(self, reply: SummaryReply) -> NamespaceSummary | None:
        """Take in a reply; return all that was gathered if it is the last."""
        for row in reply.rows:
            counted = RouteCount(row.workflow, row.version, row.state, row.runs, row.capped)
            self._counts[row.workflow, row.version, row.state] = counted
        self._queues |= {(row.workflow, row.version): _queue(row) for row in reply.queues}
        self._rates |= {row.workflow: _rate(row) for row in reply.rates}
        self._troubles |= {(row.workflow, row.version, row.state): _trouble(row) for row in reply.troubles}
        self._sessions += map(to_worker, reply.sessions)
        self.cursor = reply.cursor
        if self.cursor is not None:
            return None
        return NamespaceSummary(
            [count for _, count in sorted(self._counts.items())],
            reply.workers,
            [queue for _, queue in sorted(self._queues.items())],
            [rate for _, rate in sorted(self._rates.items())],
            sorted(self._troubles.values(), key=lambda one: one.at, reverse=True),
            self._sessions,
        )


def _queue(row: QueueRow) -> RouteQueue:
    return RouteQueue(
        workflow=row.workflow,
        version=row.version,
        queued=row.queued,
        capped=row.capped,
        oldest_at=None if row.oldest_at is None else to_datetime(row.oldest_at),
        workers=row.workers,
    )


def _rate(row: RateRow) -> WorkflowRate:
    p50, p95 = (None if part is None else timedelta(microseconds=part) for part in (row.p50, row.p95))
    return WorkflowRate(
        workflow=row.workflow,
        minutes=row.minutes,
        enqueued=row.enqueued,
        completed=row.completed,
        failed=row.failed,
        cancelled=row.cancelled,
        p50=p50,
        p95=p95,
    )


def _trouble(row: TroubleRow) -> WorkflowTrouble:
    return WorkflowTrouble(
        workflow=row.workflow,
        version=row.version,
        state=row.state,
        runs=row.runs,
        run_id=row.run_id,
        at=to_datetime(row.at),
        error=row.error,
        capped=row.capped,
    )
