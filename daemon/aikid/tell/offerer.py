"""Own the hints: one permit in JetStream per queued run, as many as the stream takes.

A queued row is its own outbox. Hints are published after the commit and not waited for; this loop makes good what
was lost: it tops a route up when claims have drained its hints, when its consumer is empty though rows have been
queued for a second, and when the stream is new because NATS was wiped. A surplus hint costs one empty claim.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Final

from aiki.process.outages import Outage
from aiki.wire import subjects
from aiki.wire.limits import HINTS_PER_ROUTE
from aikid.bus import Bus, ConsumerState
from aikid.engine import queues
from aikid.engine.routes import RouteKey
from aikid.jetstream import JetStreamDown, JetStreamRefused
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm

log = logging.getLogger("aikid.offerer")

INTERVAL_SECONDS: Final = 1.0
_STARVING_SECONDS: Final = 10.0
_ENSURE_SECONDS: Final = 30.0
_QUIET_SECONDS: Final = 3.0
_CONSUMERS_AT_ONCE: Final = 1_000
"""Made between two looks at what is queued."""
_HINTS: Final = 100_000
"""Hints of all routes together: many more would push each other out of the stream."""
_LOW: Final = HINTS_PER_ROUTE // 4
"""Below so many hints a route is topped up, if more runs than that are queued."""


_BURST: Final = 50
"""Hints for what one commit has queued of a route: who claims by one and hears that there is more goes on without."""


@dataclass(slots=True)
class _Offered:
    """What this process believes of a route's hints."""

    hints: int = 0
    """An estimate: published less claimed. Too low costs surplus hints, too high is put right within a second."""
    look_at: float = 0.0
    """By the loop's clock: not before this."""
    delivered: int = -1
    stuck_since: float | None = None


class Offerer:
    """Publishes hints for the routes it has seen. It must never decide who runs what: a claim does."""

    every_seconds = INTERVAL_SECONDS
    suffers = "hints wait"

    def __init__(self, pool: Pool, bus: Bus) -> None:
        self._pool = pool
        self._bus = bus
        self._routes: dict[RouteKey, _Offered] = {}
        self._without_consumer: set[RouteKey] = set()
        self.alarm = Alarm()
        self._ensure_at = 0.0
        self._refusals = Outage(log, "JetStream", away="refuses consumers", back="refuses no consumer any more")
        # Workers claim directly meanwhile.
        self._jetstream = Outage(log, "JetStream")
        self._is_refused = False
        """Whether it has refused one since all were asked for last."""

    def met(self, routes: Iterable[RouteKey]) -> None:
        """Take note of routes that were met first: they need a consumer."""
        self._without_consumer.update(route for route in routes if route not in self._routes)
        self.alarm.ring()

    def nudge(self) -> None:
        """Look at once: NATS is back."""
        self._ensure_at = 0.0
        self.look()

    def look(self) -> None:
        """Look at once: somebody may have queued runs and not told of them."""
        self.alarm.ring()

    async def queued(self, counts: Mapping[RouteKey, int]) -> None:
        """Publish hints for runs that were queued just now, as far as the stream has room. Best effort."""
        for route, count in counts.items():
            offered = self._routes.setdefault(route, _Offered())
            await self._publish(route, offered, min(count, _BURST, HINTS_PER_ROUTE - offered.hints))

    def claimed(self, counts: Mapping[RouteKey, int], *, more: Container[RouteKey]) -> None:
        """Take note of claims: their hints are used up. In `more` are routes of which further runs wait."""
        for route, count in counts.items():
            offered = self._routes.setdefault(route, _Offered())
            before = offered.hints
            offered.hints = max(0, offered.hints - count)
            if offered.hints < _LOW <= before and route in more:
                self.alarm.ring()

    async def run_once(self) -> None:
        """Make stream and consumers if they are missing, and top up each route that has too few hints.

        Does nothing while NATS is away, and as much as JetStream lets it. Raises Unavailable; the next call goes on.
        """
        try:
            if self._bus.connected:
                await self._offer()
                self._jetstream.is_over()
        except JetStreamDown as error:
            if self._bus.connected:  # else it is NATS that is away, and its connection says so
                self._jetstream.goes_on(error)

    async def _offer(self) -> None:
        now = asyncio.get_running_loop().time()
        new_stream = await self._bus.ensure_stream()
        if new_stream or now >= self._ensure_at:
            self._without_consumer.update(await queues.known(self._pool))
            self._ensure_at = now + _ENSURE_SECONDS
            if not self._is_refused:
                self._refusals.is_over()
            self._is_refused = False
        if new_stream:
            log.info("the hint stream is new: offering everything that is queued")
            for offered in self._routes.values():
                offered.hints, offered.look_at = 0, 0.0
        await self._make_consumers()
        waiting = await queues.waiting(self._pool)
        most = min(HINTS_PER_ROUTE, _HINTS // max(1, len(waiting)))
        for route, age_seconds in waiting.items():
            offered = self._routes.setdefault(route, _Offered())
            # From the future: the clock was set back, and nobody knows how old it is.
            old = new_stream or abs(age_seconds) > INTERVAL_SECONDS
            if now >= offered.look_at and (old or offered.hints < _LOW):
                try:
                    await self._top_up(route, offered, old=old, most=most)
                except JetStreamRefused as error:
                    # This one alone has no consumer; its workers claim directly.
                    self._refusals.goes_on(error)
                    offered.look_at = now + _ENSURE_SECONDS

    async def _make_consumers(self) -> None:
        """Make some that are missing, for each namespace in turn: a thousand routes of one keep no other waiting.

        A server has room for so many: what it refuses is asked for again much later.
        """
        refused: JetStreamRefused | None = None
        for route in list(islice(_in_turn(self._without_consumer), _CONSUMERS_AT_ONCE)):
            try:
                await self._bus.ensure_consumer(*route)
            except JetStreamRefused as error:
                refused = error
            self._routes.setdefault(route, _Offered())
            self._without_consumer.discard(route)
        if refused is not None:
            self._is_refused = True
            self._refusals.goes_on(refused)

    async def _top_up(self, route: RouteKey, offered: _Offered, *, old: bool, most: int) -> None:
        queued = await queues.queued(self._pool, route, limit=HINTS_PER_ROUTE)
        # Rows that are young have their hints on the way, unless claims have drained a long queue.
        if not old and queued <= _LOW:
            return
        state = await self._bus.consumer_state(*route)
        if state is None:
            await self._bus.ensure_consumer(*route)
            state = ConsumerState(pending=0, ack_pending=0, waiting=0, delivered=0)
        if old and self._starves(offered, state):
            log.warning("the consumer of %s delivers nothing: making it anew", "/".join(route))
            await self._bus.delete_consumer(*route)
            await self._bus.ensure_consumer(*route)
        offered.hints = state.pending + state.ack_pending
        wanted = min(queued, max(1, most))
        if offered.hints < min(wanted, _LOW):
            await self._publish(route, offered, wanted - offered.hints)
        else:
            # Nobody takes what is there: a queue without workers need not be looked at every second.
            offered.look_at = asyncio.get_running_loop().time() + _QUIET_SECONDS

    def _starves(self, offered: _Offered, state: ConsumerState) -> bool:
        now = asyncio.get_running_loop().time()
        stuck = state.waiting > 0 and state.pending > 0 and state.ack_pending == 0
        if not stuck or state.delivered != offered.delivered:
            offered.delivered, offered.stuck_since = state.delivered, now if stuck else None
            return False
        offered.stuck_since = offered.stuck_since or now
        if now - offered.stuck_since < _STARVING_SECONDS:
            return False
        offered.stuck_since = None
        return True

    async def _publish(self, route: RouteKey, offered: _Offered, count: int) -> None:
        subject = subjects.hint(*route)
        for _ in range(count):
            await self._bus.publish(subject, b"")
        offered.hints += max(0, count)


def _in_turn(routes: Iterable[RouteKey]) -> Iterator[RouteKey]:
    """Yield a route of each namespace, then another of each, until none is left."""
    by_namespace: defaultdict[str, list[RouteKey]] = defaultdict(list)
    for route in routes:
        by_namespace[route[0]].append(route)
    return filter(None, chain.from_iterable(zip_longest(*by_namespace.values())))
