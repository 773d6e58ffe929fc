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
from aiki.core.errors import Unsupported, UsageError
from aiki.core.moments import to_wire
from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import ListReply, ListRuns

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
    """Whether another run goes on in their place; either, if nothing is said."""
    version: str | None = None
    """Of this version of the workflow."""
    not_version: str | None = None
    """Of any other version than this."""
    key: str | None = None
    """That hold this idempotency key."""
    key_prefix: str | None = None
    """That hold a key which begins so: they are met in the order of their keys, unless a parent is named."""
    error: str | None = None
    """That came to an error of this type, or whose task did; without `states` those that failed by it."""
    worker: str | None = None
    """That a worker of this name has taken up, once at least."""
    priority: int | None = None

    @property
    def refines(self) -> bool:
        """Whether something is asked that no index says: then a page looks at so many runs, and may have none."""
        return any(word is not None for word in (self.error, self.worker, self.priority, self.retried))

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
            version=self.version,
            key=self.key,
            key_prefix=self.key_prefix,
            error=self.error,
            worker=self.worker,
            priority=self.priority,
            retried=self.retried,
            not_version=self.not_version,
        )


async def read(wire: Wire, request: ListRuns) -> ListReply:
    """Return a page. Raises Unsupported if the daemon passes over a word: it would list more runs than are meant."""
    reply = await wire.call(request)
    if unknown := [word for word in request.narrowed if word not in reply.heeded]:
        raise Unsupported(
            f"this aikid does not know how to list runs by {', '.join(unknown)}", hint="aikid of this version"
        )
    return reply


async def pages(wire: Wire, wanted: RunFilter, *, ended: bool = False) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of the runs that are meant, in the order of their list; with `ended` also of those that have.

    What happens to a run meanwhile does no harm: each is met once at most, and one that no longer fits may be missed.
    """
    request = (wanted if ended else unended(wanted)).request()
    request.limit = PAGE_RUNS
    while True:
        reply = await read(wire, request)
        if ids := [run.id for run in reply.runs]:
            yield ids
        if reply.cursor is None:
            return
        request.cursor = reply.cursor


def unended(wanted: RunFilter) -> RunFilter:
    """Return what an order means by the filter: without states the runs that have not ended."""
    return replace(wanted, states=list(wanted.states) or [state for state in State if state not in TERMINAL])


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
        reply = await read(wire, request)
        runs += reply.count
        if runs > COUNTED_RUNS:
            return RunCount(COUNTED_RUNS, capped=True)
        if reply.cursor is None:
            return RunCount(runs)
        request.cursor = reply.cursor
