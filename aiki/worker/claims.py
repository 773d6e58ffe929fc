"""Own how a worker gets runs: by hints that it pulls, or by claiming directly over all its routes.

A hint is a permit to claim one run of a route, so an idle worker costs nothing and many workers do not stampede. But
hints can be lost, and pulls spread over many routes starve: so the worker claims directly while its last claim said
that more is queued, while its free slots are fewer than its routes, and when it has had no hint for a while. A
saturated worker thus costs no hints, and Aiki works with JetStream down.

Invariant: pulled + claimed-for + free-to-ask == free slots, so never is more asked for than can be run; only a claim
whose reply is overdue (its daemon died, most likely) is no longer counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from aiki.core.errors import AikiError, Overloaded, Unavailable
from aiki.core.failpoints import failpoint
from aiki.wire.limits import CLAIM_RUNS
from aiki.wire.messages import Claim, ClaimReply
from aiki.worker.pulls import Pulls

if TYPE_CHECKING:
    from aiki.transport import Hint, Transport
    from aiki.worker.session import Session
    from aiki.worker.slots import Slots

IDLE_SECONDS: Final = 5.0
"""Without a hint for so long, the worker asks directly."""
CROWDED_SECONDS: Final = 1.0
"""With more routes than free slots, or while hints cannot come, an idle worker asks directly so often."""
CLAIM_SECONDS: Final = 8.0
"""How long a claim's reply is waited for; below TTL/3, when a renewal would name the claim as unlisted."""
PATIENCE_SECONDS: Final = 2.0
"""A claim without a reply for so long no longer keeps the next one back."""
GATHER_SECONDS: Final = 0.003
GATHER_PART: Final = 8
"""While more is queued, up to 1/8 of the slots gather for 3 ms, so that claims come in batches."""
OVERLOADED_SECONDS: Final = 0.1
ACK_SECONDS: Final = 0.005

log = logging.getLogger("aiki.worker")


class Claims:
    """The claims of one worker. `on_claimed` gets each reply's runs with the request."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        slots: Slots,
        routes: Iterable[tuple[str, str]],
        on_claimed: Callable[[ClaimReply, Claim], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._session = session
        self._slots = slots
        self._on_claimed = on_claimed
        self._pulls = Pulls(transport, routes, self.wake)
        self._claiming: dict[str, tuple[int, float]] = {}
        """Claims without a reply: claim_id -> (runs asked for, since when)."""
        self._more = True
        """Whether more is queued, as far as the last claim saw; the first one goes out without a hint."""
        self._pause_until = 0.0
        self._last_direct = 0.0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look again: a slot is free, or a hint has come."""
        self._wake.set()

    async def run(self) -> None:
        """Claim until cancelled; claims under way are then waited for, so that none is lost."""
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
                await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)

    # -- decide

    async def _step(self) -> None:
        now = time.monotonic()
        free = self._free()
        await self._pulls.give_back_surplus(max(0, free), OVERLOADED_SECONDS)
        if free <= 0 or now < self._pause_until or not self._session.may_start():
            return
        if any(now - since < PATIENCE_SECONDS for _, since in self._claiming.values()):
            return
        if hints := self._pulls.take(CLAIM_RUNS):
            failpoint("worker.hinted")
            self._start_claim(min(free, len(hints)), {hint.route for hint in hints}, hints)
        elif self._is_direct_due(now, free):
            if self._more and free < self._slots.total // GATHER_PART:
                await asyncio.sleep(GATHER_SECONDS)
                if (free := self._free()) <= 0:
                    return
            self._last_direct = time.monotonic()
            self._start_claim(min(free, CLAIM_RUNS), self._pulls.routes, [])
        else:
            await self._pulls.pull(free)

    def _free(self) -> int:
        """Return how many more runs to ask for. A claim that nobody answers does not hold its slots for long.

        Should its reply come late all the same, its runs are begun over the number of slots.
        """
        answerable = time.monotonic() - PATIENCE_SECONDS
        return self._slots.free - sum(asked for asked, since in self._claiming.values() if since > answerable)

    def _is_direct_due(self, now: float, free: int) -> bool:
        if self._more:
            return True
        if free < len(self._pulls.routes) or self._pulls.refused:
            return now - self._last_direct >= CROWDED_SECONDS
        return now - max(self._pulls.last_hint, self._last_direct) >= IDLE_SECONDS

    def _seconds_to_next_step(self) -> float:
        now = time.monotonic()
        if self._pause_until > now:
            return self._pause_until - now
        if self._claiming:
            return PATIENCE_SECONDS
        if self._slots.free < len(self._pulls.routes) or self._pulls.refused:
            return CROWDED_SECONDS
        return self._pulls.seconds_to_next()

    # -- claim

    def _start_claim(self, limit: int, consumers: Iterable[str], hints: list[Hint]) -> None:
        claim_id = str(uuid.uuid4())
        routes = [self._pulls.routes[consumer] for consumer in consumers]
        self._claiming[claim_id] = (limit, time.monotonic())
        task = asyncio.create_task(self._claim(Claim(self._session.id, claim_id, routes, limit), hints))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _claim(self, request: Claim, hints: list[Hint]) -> None:
        try:
            reply = await self._transport.call(request, seconds=CLAIM_SECONDS, repeat=False)
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
            self._more = reply.more
            await self._on_claimed(reply, request)
        finally:
            # Only when its runs hold their slots, or it has none: before, they would be claimed for twice.
            del self._claiming[request.claim_id]
            self._wake.set()
        # Only now: an ack before the claim would lose the hint if we died in between. And a little later, since
        # the runs' first outcomes, which are about to be sent, matter more than using up a permit.
        await asyncio.sleep(ACK_SECONDS)
        for hint in hints:
            await hint.ack()
