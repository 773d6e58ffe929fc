"""Own which runs are meant by what they are, page by page: however many they are, few of them are held at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aiki.client.wire import Wire
from aiki.core.moments import to_wire
from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import ListRuns

PAGE_RUNS: Final = 500


@dataclass(frozen=True, slots=True)
class RunCount:
    """How many runs there are. They are counted to 10,000; if there are more, the count is `capped`."""

    runs: int
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """The runs that are all of this; an order without `states` means those that have not ended."""

    workflow: str | None = None
    states: Iterable[State] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    """Enqueued then or later."""
    before: datetime | None = None
    """Enqueued before that."""
    roots: bool = False
    """Started by no other run."""
    parent: str | None = None
    """Started by this run."""

    def request(self) -> ListRuns:
        """Return what asks for the first of them."""
        return ListRuns(
            states=list(self.states),
            workflow=self.workflow,
            labels=dict(self.labels),
            since=None if self.since is None else to_wire(self.since, what="since"),
            before=None if self.before is None else to_wire(self.before, what="before"),
            roots=self.roots,
            parent=self.parent,
        )


async def pages(wire: Wire, wanted: RunFilter) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of the runs that are meant, newest first, some at a time.

    What happens to a run meanwhile does no harm: each is met once at most, and one that no longer fits may be missed.
    """
    request = wanted.request()
    request.states = request.states or [state for state in State if state not in TERMINAL]
    request.limit = PAGE_RUNS
    while True:
        reply = await wire.call(request)
        if reply.runs:
            yield [run.id for run in reply.runs]
        if reply.cursor is None:
            return
        request.cursor = reply.cursor


async def count(wire: Wire, wanted: RunFilter) -> RunCount:
    """Return how many runs are meant, no further than is told."""
    request, runs = wanted.request(), 0
    request.counts = True
    while True:
        reply = await wire.call(request)
        runs += reply.count
        if runs > COUNTED_RUNS:
            return RunCount(COUNTED_RUNS, capped=True)
        if reply.cursor is None:
            return RunCount(runs)
        request.cursor = reply.cursor
