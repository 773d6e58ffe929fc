"""Own which runs are meant by what they are, page by page: however many they are, few of them are held at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from aiki.client.wire import Wire
from aiki.core.errors import UsageError
from aiki.core.moments import to_wire
from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import ListRuns, RunStatus

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
    retried: bool | None = None
    """Whether another run goes on in their place; either, if nothing is said. Of an order alone."""
    version: str | None = None
    """Of this version of the workflow. Of an order alone."""
    not_version: str | None = None
    """Of any other version than this. Of an order alone."""

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


async def pages(wire: Wire, wanted: RunFilter, *, ended: bool = False) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of the runs that are meant, newest first, some at a time; with `ended` also of those that have.

    What happens to a run meanwhile does no harm: each is met once at most, and one that no longer fits may be missed.
    """
    request = wanted.request()
    if not ended:
        request.states = request.states or [state for state in State if state not in TERMINAL]
    request.limit = PAGE_RUNS
    while True:
        reply = await wire.call(request)
        if ids := [run.id for run in reply.runs if _is_meant(run, wanted)]:
            yield ids
        if reply.cursor is None:
            return
        request.cursor = reply.cursor


def _is_meant(run: RunStatus, wanted: RunFilter) -> bool:
    """Tell whether a run is what a list cannot be asked for."""
    is_retried = wanted.retried in (None, run.retried_by is not None)
    return is_retried and wanted.version in (None, run.version) and run.version != wanted.not_version


def retriable(wanted: RunFilter) -> RunFilter:
    """Return those of the runs of which a retry can be made: that have failed or were cancelled, and have none."""
    return replace(wanted, states=list(wanted.states) or [State.FAILED, State.CANCELLED], retried=False)


def ended(wanted: RunFilter) -> RunFilter:
    """Return those of the runs that have ended."""
    return replace(wanted, states=list(wanted.states) or list(TERMINAL))


async def named(run_ids: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of runs that were named, as `pages` yields those that were found."""
    if run_ids:
        yield run_ids


async def paced(
    found: AsyncGenerator[Sequence[str], None], *, limit: int | None, per_second: float | None
) -> AsyncGenerator[Sequence[str], None]:
    """Yield the first `limit` of the ids that are found, and no more of them than so many a second.

    Raises UsageError for a limit or a pace of nothing.
    """
    if (limit is not None and limit < 1) or (per_second is not None and not per_second > 0):
        raise UsageError("a limit is 1 or more, and so many runs a second are more than none")
    size = PAGE_RUNS if per_second is None else max(1, int(per_second))
    given, began = 0, time.monotonic()
    async with aclosing(found):
        async for ids in found:
            for start in range(0, len(ids), size):
                some = ids[start : start + size][: None if limit is None else limit - given]
                if not some:
                    return
                if per_second is not None:
                    await asyncio.sleep(began + given / per_second - time.monotonic())
                yield some
                given += len(some)


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
