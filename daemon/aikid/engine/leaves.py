"""Own which workers have leave for which routes: to whom a run may be handed over that is new, or queued again.

It only says what is worth trying. Whether a new run is handed over the statement decides that inserts it: it asks the
session for its life, the leave for its time, and the route for what is queued. One that is queued again is claimed as
by its worker. What is kept here is memory of this daemon alone, so losing it costs speed; a session that is met anew
gets a new line, since its numbers count from 1.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Final

from aiki.rules.checking import is_uuid
from aiki.wire.limits import HANDED_BYTES, HANDED_RUNS, LEAVE_SECONDS
from aiki.wire.messages import Park, Parked, RunOptions
from aikid.engine.routes import RouteKey
from aikid.store.enqueue import Leave, Row

LINES_MAX: Final = 4_000
"""Sessions that are remembered, with up to 100 routes each; a namespace may have half."""
LOOKED_AT: Final = 32
"""Workers among whom the freest of a route is chosen: a namespace with thousands holds nobody else up."""
OFFERED_RUNS: Final = 100
"""Runs of one batch that may be handed over: more go better by claims, and make the statement slow."""
_KEPT_SECONDS: Final = 10.0
"""For how long a line is remembered after its last Park."""


@dataclass(slots=True, eq=False)
class Line:
    """What this daemon hands over to one session; hand-overs are numbered from 1."""

    namespace: str
    session: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    inbox: str = ""
    routes: frozenset[RouteKey] = frozenset()
    serial: int = -1
    until: int = 0
    """By the database's clock, as the worker said; this daemon's own is `ends_at`."""
    ends_at: float = 0.0
    free: int = 0
    upto: int = 0
    """The worker has a slot for hand-overs up to this number."""
    given: int = 0
    """The number of the last hand-over."""
    offered: int = 0
    """Leaves that statements under way may use."""
    settled: int = 0
    """Up to this number hand-overs have arrived, or never will."""
    settled_ahead: set[int] = field(default_factory=set)
    owes: bool = False
    """Whether an answer is due once nothing is under way."""

    @property
    def left(self) -> int:
        """How many runs may be tried to hand over now."""
        unheard = self.given - self.settled - len(self.settled_ahead)
        return min(self.upto - self.given, HANDED_RUNS - unheard) - self.offered

    def answer(self) -> Parked:
        """Return what the worker is told after a Park."""
        return Parked(self.id, self.serial, max(self.upto, self.given + self.offered), self.settled)

    def settle(self, first: int, count: int) -> None:
        """Take note that so many hand-overs, from `first` on, have arrived or never will."""
        self.settled_ahead.update(range(first, first + count))
        while self.settled + 1 in self.settled_ahead:
            self.settled += 1
            self.settled_ahead.discard(self.settled)


@dataclass(slots=True, eq=False)
class Offer:
    """Rows of a batch that one worker has leave for, and the claim that they are born under."""

    line: Line
    places: list[int]
    claim_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Loan:
    """How many queued runs may be claimed for one worker."""

    line: Line
    runs: int


@dataclass(frozen=True, slots=True)
class Given:
    """Runs of a batch that were born running, for the worker to be told: their places, and the first one's number."""

    line: Line
    claim_id: str
    places: list[int]
    first: int


class Leaves:
    """The leaves that this daemon knows of. `answer` is called with each line whose worker is to be answered."""

    def __init__(self, answer: Callable[[Line], None] = lambda _: None, *, limit: int = LINES_MAX) -> None:
        self._answer = answer
        self._limit = limit
        self._lines: dict[tuple[str, str], Line] = {}
        self._counts: Counter[str] = Counter()
        """Lines by namespace."""
        self._by_route: dict[RouteKey, dict[Line, None]] = {}
        self._forget_at = 0.0

    def parked(self, namespace: str, park: Park) -> None:
        """Take in what a worker allows. What cannot be true is passed over: a leave is not owed to anybody."""
        now = asyncio.get_running_loop().time()
        if now >= self._forget_at:
            self._forget_old(now)
        line = self._lines.get((namespace, park.session))
        if line is None:
            if not is_uuid(park.session) or not self._has_room(namespace):
                return
            line = self._lines[namespace, park.session] = Line(namespace, park.session)
            self._counts[namespace] += 1
        if park.serial <= line.serial:
            return  # it was overtaken by another
        line.serial, line.until, line.ends_at = park.serial, park.until, now + LEAVE_SECONDS
        line.inbox, line.free = park.inbox, park.free
        allowed, promised = park.leaves.get(line.id, 0), line.given + line.offered
        line.upto = min(max(allowed, line.given), line.given + HANDED_RUNS)
        self._serve(line, frozenset((namespace, *route) for route in park.routes))
        line.owes = allowed < promised
        self._answer(line)

    def offer(self, rows: Sequence[Row], *, room: int) -> list[Offer]:
        """Choose whom new runs might be handed over to: of each route those that come first, to the freest worker.

        What one is offered together fits a message of `room` bytes, if its labels are not huge. Whoever asks has to
        `close` the offers.
        """
        if not self._by_route:
            return []
        wanted: dict[RouteKey, list[int]] = {}
        ids: set[str] = set()
        others: set[RouteKey] = set()
        for place, (namespace, run) in enumerate(rows):
            route = (namespace, run.workflow, run.version)
            if route not in self._by_route or run.id in ids:
                continue
            if _waits_for_more(run.options):
                others.add(route)
            ids.add(run.id)
            wanted.setdefault(route, []).append(place)
        offers: list[Offer] = []
        left, most_bytes = OFFERED_RUNS, min(HANDED_BYTES, room // 2)
        for route, places in wanted.items():
            if route in others or not left:
                continue  # one of the route may be queued at once: nobody overtakes it
            if len(places) > 1:
                places.sort(key=lambda place: -(rows[place][1].options.priority or 0))
            made = self._offer(route, places[:left], rows, most_bytes=most_bytes)
            offers += made
            left -= sum(len(offer.places) for offer in made)
        return offers

    def close(self, offers: Sequence[Offer], rows: Sequence[Row], running: Collection[str]) -> list[Given]:
        """Take note of what has become of offers: which of the runs were born running under them."""
        given = []
        for offer in offers:
            places = [place for place in offer.places if rows[place][1].id in running]
            first = self._close(offer.line, len(offer.places), len(places))
            if places:
                given.append(Given(offer.line, offer.claim_id, places, first))
        return given

    def lend(self, route: RouteKey, most: int) -> Loan | None:
        """Choose for whom queued runs of a route may be claimed, and how many, `most` at most; None if nobody is free.

        Whoever asks has to `settle` the loan.
        """
        now = asyncio.get_running_loop().time()
        lines = self._next_of(self._by_route[route]) if route in self._by_route else []
        able = [line for line in lines if line.ends_at > now and line.left > 0]
        if not able:
            return None
        line = max(able, key=lambda one: one.free)
        loan = Loan(line, min(most, line.left))
        line.offered += loan.runs
        line.free -= loan.runs
        return loan

    def settle(self, loan: Loan, runs: int) -> int:
        """Take note of how many runs were claimed on a loan; return the number of the first."""
        return self._close(loan.line, loan.runs, runs)

    def forget(self, line: Line) -> None:
        """Hand nothing more over to a session: it has ended, or nobody listens for it."""
        self._serve(line, frozenset())
        line.upto = line.given

    # -- private

    def _close(self, line: Line, offered: int, given: int) -> int:
        first = line.given + 1
        line.offered -= offered
        line.given += given
        if line.owes and not line.offered:
            line.owes = False
            self._answer(line)
        return first

    def _offer(self, route: RouteKey, places: list[int], rows: Sequence[Row], *, most_bytes: int) -> list[Offer]:
        now = asyncio.get_running_loop().time()
        lines = self._next_of(self._by_route[route])
        heap = [(-line.free, random.random(), line) for line in lines if line.ends_at > now and line.left > 0]  # noqa: S311
        heapify(heap)
        offers: dict[Line, Offer] = {}
        done: list[Offer] = []
        for place in places:
            if not heap:
                break
            line = heap[0][2]
            offer = offers.get(line)
            size = len(rows[place][1].input)
            if offer is None or offer.bytes + size > most_bytes:
                offer = offers[line] = Offer(line, [])
                done.append(offer)
            offer.places.append(place)
            offer.bytes += size
            line.offered += 1
            line.free -= 1
            if line.left > 0:
                heapreplace(heap, (-line.free, random.random(), line))  # noqa: S311
            else:
                heappop(heap)
        return done

    def _next_of(self, lines: dict[Line, None]) -> list[Line]:
        """Return some of a route's lines, and have the others come first the next time."""
        some = list(islice(lines, LOOKED_AT))
        if len(some) < len(lines):
            for line in some:
                del lines[line]
                lines[line] = None
        return some

    def _serve(self, line: Line, routes: frozenset[RouteKey]) -> None:
        if routes == line.routes:
            return
        for route in line.routes - routes:
            of_route = self._by_route[route]
            del of_route[line]
            if not of_route:
                del self._by_route[route]
        for route in routes - line.routes:
            self._by_route.setdefault(route, {})[line] = None
        line.routes = routes

    def _has_room(self, namespace: str) -> bool:
        return len(self._lines) < self._limit and self._counts[namespace] < self._limit // 2

    def _forget_old(self, now: float) -> None:
        self._forget_at = now + _KEPT_SECONDS
        for key, line in list(self._lines.items()):
            if line.ends_at + _KEPT_SECONDS < now and not line.offered:
                self.forget(line)
                del self._lines[key]
                self._counts[key[0]] -= 1


NO_LEAVES: Final = Leaves()
"""Of nobody: each run waits for a claim."""


def rows_of(offers: Sequence[Offer], rows: Sequence[Row]) -> list[Leave]:
    """Return the leaves of a batch as its statement takes them: of each route in the order in which they are given."""
    leaves = [
        (place, Leave(place, offer.line.session, offer.claim_id, offer.line.until, rows[place]))
        for offer in offers
        for place in offer.places
    ]
    leaves.sort(key=lambda item: (-(item[1].row[1].options.priority or 0), item[0]))
    return [leave for _, leave in leaves]


def _waits_for_more(options: RunOptions) -> bool:
    """Tell whether a run may have to be queued: until a time that only the database's clock tells, or for its event."""
    return options.start_at is not None or options.delay is not None or options.send is not None
