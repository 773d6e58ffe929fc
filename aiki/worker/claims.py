"""Own how a worker gets runs: by hints that it pulls, or by claiming directly over all its routes.

A hint is a permit to claim one run of a route, so an idle worker costs nothing and many workers do not stampede. But
hints can be lost, and pulls spread over many routes starve: so the worker claims directly while its last claim said
that more is queued, while its free slots are fewer than its routes, and when it has had no hint for a while. A
saturated worker thus costs no hints, and Aiki works with JetStream down.

Slots are reserved for what a claim may bring, so never is more asked for than can be run. A claim whose reply is
overdue (its daemon died, most likely) does not keep its slots: should the reply come late all the same, what finds no
slot then goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiki.core.errors import AikiError, Overloaded, Unavailable
from aiki.core.failpoints import failpoint
from aiki.wire.limits import CLAIM_RUNS
from aiki.wire.messages import Claim, ClaimReply
from aiki.worker.pulls import Pulls

if TYPE_CHECKING:
    from aiki.execution import Lease
    from aiki.transport import Hint, Transport
    from aiki.worker.parking import Parking
    from aiki.worker.session import Session
    from aiki.worker.slots import Reservation, Slots

IDLE_SECONDS: Final = 5.0
"""Without a hint for so long, the worker asks directly, if it was not told another time."""
CROWDED_SECONDS: Final = 1.0
"""With more routes than free slots, or while hints cannot come or get lost, an idle worker asks directly so often."""
DISTRUST_SECONDS: Final = 30.0
"""After a run that came without a hint, hints are taken to get lost for so long."""
CLAIM_SECONDS: Final = 8.0
"""How long a claim's reply is waited for at most, under a long lease."""
PATIENCE_SECONDS: Final = 2.0
"""A claim without a reply for so long no longer keeps the next one back, nor its slots."""
GATHER_SECONDS: Final = 0.003
GATHER_PART: Final = 8
"""While more is queued, up to 1/8 of the slots gather for 3 ms, so that claims come in batches."""
OVERLOADED_SECONDS: Final = 0.1
ACK_SECONDS: Final = 0.005

log = logging.getLogger("aiki.worker")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker fetches: `batch` is the most runs in one claim, `idle_seconds` how long it goes without a hint."""

    batch: int = CLAIM_RUNS
    idle_seconds: float = IDLE_SECONDS


@dataclass(slots=True)
class Asked:
    """A claim under way: the lease under which it was made, and the slots that are kept for its runs."""

    request: Claim
    lease: Lease
    reservation: Reservation
    since: float


class Claims:
    """The claims of one worker. `on_claimed` gets each reply with what was asked."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        slots: Slots,
        routes: Iterable[tuple[str, str]],
        pace: Pace,
        on_claimed: Callable[[ClaimReply, Asked], Awaitable[None]],
        *,
        parking: Parking,
    ) -> None:
        self._transport = transport
        self._session = session
        self._slots = slots
        self._inventory = session.inventory
        self._pace = pace
        self._on_claimed = on_claimed
        self._pulls = Pulls(transport, routes, self.wake)
        self._parking = parking
        parking.on_change = self.wake
        self._asked: dict[str, Asked] = {}
        """Claims without a reply, by claim_id."""
        self._more = True
        """Whether more is queued, as far as the last claim saw; the first one goes out without a hint."""
        self._pause_until = 0.0
        self._last_direct = 0.0
        self._distrust_until = 0.0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look again: a slot is free, or a hint has come."""
        self._wake.set()

    def serve(self, route: tuple[str, str]) -> None:
        """Claim runs of one more route; some may be queued already."""
        self._more = True
        self._pulls.serve(route)

    async def run(self) -> None:
        """Claim until cancelled; claims under way are then waited for, so that none is lost if it can be helped."""
        await self._pulls.open()
        try:
            while True:
                self._wake.clear()
                await self._step()
                # Not wait_for(): on Python 3.11 it swallows a cancellation that comes with the event (bpo-37658).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_to_next_step()):
                        await self._wake.wait()
        finally:
            await self._pulls.close()
            if self._tasks:
                _, overdue = await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)
                for task in overdue:
                    task.cancel()  # a renewal, or the session's end, gives back what it may have claimed

    # -- decide

    async def _step(self) -> None:
        now = time.monotonic()
        is_waiting = self._give_up_overdue(now)
        await self._pulls.give_back_surplus(self._slots.free, OVERLOADED_SECONDS)
        self._parking.look(self._pulls.routes.values(), more=self._more, pulled=self._pulls.outstanding)
        free = self._slots.free
        if not free or is_waiting or now < self._pause_until or not self._session.lease.is_certain():
            return
        if hints := self._pulls.take(self._pace.batch):
            failpoint("worker.hinted")
            self._start_claim(min(free, len(hints)), {hint.route for hint in hints}, hints)
        elif self._is_direct_due(now, free):
            if self._more and free < self._slots.total // GATHER_PART:
                await asyncio.sleep(GATHER_SECONDS)
                if not (free := self._slots.free):
                    return
            self._last_direct = time.monotonic()
            self._start_claim(min(free, self._pace.batch), self._pulls.routes, [])
        else:
            await self._pulls.pull(free - self._parking.lacking)

    def _give_up_overdue(self, now: float) -> bool:
        """Let others have the slots of claims whose reply is overdue; tell whether one is waited for in good time."""
        is_waiting = False
        for asked in self._asked.values():
            if now - asked.since < PATIENCE_SECONDS:
                is_waiting = True
            else:
                self._slots.release(asked.reservation)
        return is_waiting

    def _is_direct_due(self, now: float, free: int) -> bool:
        if self._more:
            return True
        if self._is_without_hints(now, free):
            return now - self._last_direct >= CROWDED_SECONDS
        return now - max(self._pulls.last_hint, self._last_direct) >= self._pace.idle_seconds

    def _is_without_hints(self, now: float, free: int) -> bool:
        return free < len(self._pulls.routes) or self._pulls.refused or now < self._distrust_until

    def _seconds_to_next_step(self) -> float:
        return min(self._seconds_to_next_claim(), self._parking.seconds_to_next())

    def _seconds_to_next_claim(self) -> float:
        now = time.monotonic()
        if self._pause_until > now:
            return self._pause_until - now
        if self._asked:
            return PATIENCE_SECONDS
        if self._is_without_hints(now, self._slots.free):
            return CROWDED_SECONDS
        return min(self._pulls.seconds_to_next(), self._pace.idle_seconds)

    # -- claim

    def _start_claim(self, limit: int, consumers: Iterable[str], hints: list[Hint]) -> None:
        lease, routes = self._session.lease, [self._pulls.routes[consumer] for consumer in consumers]
        request = Claim(lease.session, str(uuid.uuid4()), routes, limit)
        asked = Asked(request, lease, self._slots.reserve(limit), time.monotonic())
        self._asked[request.claim_id] = asked
        self._inventory.expect(request.claim_id)
        task = asyncio.create_task(self._claim(asked, hints))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _claim(self, asked: Asked, hints: list[Hint]) -> None:
        request = asked.request
        try:
            seconds = min(CLAIM_SECONDS, asked.lease.reply_seconds)
            reply = await self._transport.call(request, seconds=seconds, repeat=False)
        except AikiError as error:
            wait = error.retry_after if isinstance(error, Overloaded) else CROWDED_SECONDS
            if not isinstance(error, Unavailable):
                log.warning("no runs claimed: %s", error)
            elif not isinstance(error, Overloaded):
                self._transport.unserved(error)
            self._pause_until = time.monotonic() + wait
            await self._pulls.give_back(hints, wait)
            return
        else:
            if reply.runs:
                failpoint("worker.claimed")
                if not hints and not self._more:
                    # Nobody told us: somebody may keep hints from coming, so the next run shall not wait as long.
                    self._distrust_until = time.monotonic() + DISTRUST_SECONDS
            self._more = reply.more
            await self._on_claimed(reply, asked)
        finally:
            # Only when its runs hold their slots, or it has none: before, they would be claimed for twice.
            del self._asked[request.claim_id]
            self._inventory.forget(request.claim_id)
            self._slots.release(asked.reservation)
            self._wake.set()
        # Only now: an ack before the claim would lose the hint if we died in between. And a little later, since
        # the runs' first outcomes, which are about to be sent, matter more than using up a permit.
        await asyncio.sleep(ACK_SECONDS)
        for hint in hints:
            await hint.ack()
