"""Say what a namespace does: how many runs are in which state, what waits, what was done lately, what is amiss, and who
works.

It costs the same however many runs have ended: those are counted no further than is told, and what was done lately
stands in the rows that daemons write of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from aiki.core.errors import UsageError
from aiki.core.states import TERMINAL, State
from aiki.rules.checking import is_uuid
from aiki.rules.histograms import quantile
from aiki.rules.summing import in_a_line, words
from aiki.wire import weights
from aiki.wire.limits import RATE_MINUTES, SUMMED_SESSIONS
from aiki.wire.messages import (
    RateRow,
    SessionRow,
    Summary,
    SummaryReply,
    SummaryRow,
    TroubleRow,
    Workers,
    WorkersReply,
)
from aiki.wire.packing import page as page_of
from aiki.wire.packing import reply_room
from aikid.engine.paging import next_cursor, offset
from aikid.store import minutes, reads
from aikid.store import summary as store
from aikid.store.minutes import Rate, Trouble
from aikid.store.pool import Pool
from aikid.store.summary import Counted, RouteKey

_ROUTES: Final = 100
"""Routes that one reply is of."""
_SESSIONS_PART: Final = 4
"""This part of a reply is left to sessions."""
_PAGE: Final = 200
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
_REMEMBERED_SECONDS: Final = 60.0
_REMEMBERED: Final = 10_000


class Capped:
    """Which counts of ended runs were more than is told: for a minute they are not counted again.

    Only deleting makes them less, which so is seen a minute later.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, Counted], float] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._until)

    def known(self, namespace: str, of: Collection[RouteKey]) -> set[Counted]:
        """Return which counts of these routes need not be made."""
        now = self._clock()
        found = (((*route, state), self._until.get((namespace, (*route, state)))) for route in of for state in TERMINAL)
        return {counted for counted, until in found if until is not None and until > now}

    def note(self, namespace: str, rows: Collection[SummaryRow]) -> None:
        """Take note of what was counted."""
        if len(self._until) > _REMEMBERED:
            self._until.clear()
        until = self._clock() + _REMEMBERED_SECONDS
        for row in rows:
            if row.capped and row.state in TERMINAL:
                self._until[namespace, (row.workflow, row.version, row.state)] = until


async def summary(
    pool: Pool, namespace: str, request: Summary, room: int, *, capped: Capped | None = None
) -> SummaryReply:
    """Return what is known of some routes, as many as fit `room`. Raises UsageError, Unavailable."""
    start = offset(request.cursor)
    sessions = await _first_sessions(pool, namespace, room) if start == 0 else []
    most = min(_ROUTES, max(1, reply_room(room - room // _SESSIONS_PART) // weights.SUMMARY_ROUTE_BYTES))
    before = min(start, 1)
    known = await reads.known_routes(pool, namespace, offset=start - before, limit=before + most + 1)
    of = known[before : before + most]
    rows = await _counts(pool, namespace, of, Capped() if capped is None else capped)
    # A workflow's rate stands where its first version does.
    earlier = {workflow for workflow, _ in known[:before]}
    workflows = sorted({workflow for workflow, _ in of} - earlier)
    blocked = {(row.workflow, row.version): row for row in rows if row.state is State.BLOCKED}
    return SummaryReply(
        rows,
        await store.live_workers(pool, namespace),
        next_cursor(start + most, more=len(known) > before + most),
        queues=await store.queues(pool, namespace, of, rows) if of else [],
        rates=[_rate(one) for one in await minutes.rates(pool, namespace, workflows)] if workflows else [],
        troubles=await _troubles(pool, namespace, of, blocked) if of else [],
        sessions=sessions,
    )


async def workers(pool: Pool, namespace: str, request: Workers, room: int) -> WorkersReply:
    """Return live sessions, as many as fit `room`. Raises UsageError, Unavailable."""
    after = request.cursor or _FIRST_ID
    if not is_uuid(after):
        raise UsageError("the cursor of a list is what an earlier page gave")
    found = await store.sessions_after(pool, namespace, after, limit=_PAGE + 1)
    kept = page_of(found[:_PAGE], weights.of_session, room)
    return WorkersReply(kept, kept[-1].id if len(kept) < len(found) else None)


async def _first_sessions(pool: Pool, namespace: str, room: int) -> list[SessionRow]:
    found = await store.first_sessions(pool, namespace, limit=SUMMED_SESSIONS)
    return page_of(found, weights.of_session, room // _SESSIONS_PART)


async def _counts(pool: Pool, namespace: str, of: Sequence[RouteKey], capped: Capped) -> list[SummaryRow]:
    known = capped.known(namespace, of)
    counted = await store.counts(pool, namespace, of, capped=known)
    capped.note(namespace, counted)
    counted += [store.told(workflow, version, state, store.MORE) for workflow, version, state in known]
    return sorted(counted, key=lambda row: (row.workflow, row.version, row.state))


def _rate(rate: Rate) -> RateRow:
    return RateRow(
        rate.workflow,
        RATE_MINUTES,
        rate.enqueued,
        rate.completed,
        rate.failed,
        rate.cancelled,
        quantile(rate.buckets, 0.5),
        quantile(rate.buckets, 0.95),
    )


async def _troubles(
    pool: Pool, namespace: str, of: Sequence[RouteKey], blocked: dict[RouteKey, SummaryRow]
) -> list[TroubleRow]:
    found = await minutes.failed(pool, namespace, of)
    if blocked:
        found += await minutes.blocked(pool, namespace, {route: row.runs for route, row in blocked.items()})
    capped = {route for route, row in blocked.items() if row.capped}
    return [_trouble(one, capped) for one in found]


def _trouble(one: Trouble, capped: Collection[RouteKey]) -> TroubleRow:
    is_capped = one.state is State.BLOCKED and (one.workflow, one.version) in capped
    why = one.why or "" if one.error is None else words(one.error)
    return TroubleRow(
        one.workflow, one.version, one.state, one.runs, one.run_id, one.at, in_a_line(why), capped=is_capped
    )
