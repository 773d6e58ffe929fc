"""Own the way of outcomes to the daemon: all units that became ready in one turn of the loop travel in one request.

While requests are in flight the next one gathers. A unit is repeated until it is answered or its worker's lease is
lost: its fence makes a repeat harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from aiki.core.errors import AikiError, Unavailable, UsageError
from aiki.core.failpoints import failpoint
from aiki.wire import weights
from aiki.wire.messages import KeyAnswer, Record, Recorded, RecordReply, Unit
from aiki.wire.packing import cut, fitting, request_room

if TYPE_CHECKING:
    from aiki.execution import ClaimedRun
    from aiki.transport import Transport
    from aiki.worker.clock import DatabaseClock
    from aiki.worker.talk import Talk

LANES: Final = 2
TURN_RUNS: Final = 50
"""After so many runs went on in one turn of the loop, others get a turn: what the first came to is on its way to the
daemon while the rest still computes. (All in one turn, worker and daemon would wait for each other in turns.)"""
BATCH_UNITS: Final = 500
CALL_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.05
RETRY_SECONDS_MAX: Final = 5.0

log = logging.getLogger("aiki.worker")


class Recorder:
    """Units on their way, in the order they became ready."""

    def __init__(self, transport: Transport, clock: DatabaseClock, talk: Talk | None) -> None:
        self._transport = transport
        self._clock = clock
        self._talk = talk
        self._ready: deque[tuple[ClaimedRun, Unit]] = deque()
        self._idle_lanes = LANES
        self._lanes: set[asyncio.Task[None]] = set()
        self._launching = False

    def submit(self, execution: ClaimedRun, unit: Unit) -> None:
        """Send the unit; `execution.on_recorded` gets its answer."""
        if unit.end is not None:
            failpoint(f"worker.before_{unit.end.move}")
        self._ready.append((execution, unit))
        if self._idle_lanes and not self._launching:
            self._launching = True
            # Not at once: what becomes ready in this turn of the loop shall travel together.
            asyncio.get_running_loop().call_soon(self._launch)

    async def close(self) -> None:
        """Stop repeating; what was not answered is left to the rescuer."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)

    def _launch(self) -> None:
        self._launching = False
        if self._ready and self._idle_lanes:
            self._idle_lanes -= 1
            self._start_lane(self._drain())

    async def _drain(self) -> None:
        try:
            while self._ready:
                await self._record(self._next_batch())
                # A try that ends in its first step does so in this turn of the loop: its outcome need not wait longer.
                await asyncio.sleep(0)
        finally:
            self._idle_lanes += 1

    def _next_batch(self) -> list[tuple[ClaimedRun, Unit]]:
        sizes = (weights.of_unit(unit) for _, unit in self._ready)
        return [self._ready.popleft() for _ in range(fitting(sizes, self._room, BATCH_UNITS))]

    async def _record(self, batch: list[tuple[ClaimedRun, Unit]], *, tries: int = 0, wait: float = 0.0) -> None:
        if wait:
            await asyncio.sleep(wait)
        try:
            reply = await self._reply([unit for _, unit in batch])
        except AikiError as error:
            self._refused(batch, error, tries=tries + 1)
            return
        failpoint("worker.recorded")
        for place, ((execution, unit), recorded) in enumerate(zip(batch, reply.units, strict=True), 1):
            if self._talk is not None and recorded.result == "done":
                self._talk.recorded(execution.claimed, unit, parked=recorded.parked)
            execution.on_recorded(recorded)
            if place % TURN_RUNS == 0:
                await asyncio.sleep(0)

    async def _reply(self, units: list[Unit]) -> RecordReply:
        """Return the daemon's answer, however long it takes. Raises the error that it refused the units with."""
        request = Record(units)
        while True:
            try:
                reply = await self._transport.call(request, seconds=CALL_SECONDS)
            except Unavailable as error:
                log.debug("outcomes of %d runs wait to be recorded", len(units))
                self._transport.unserved(error)
                continue
            if len(reply.units) != len(units):
                raise AikiError(f"aikid answered {len(reply.units)} of {len(units)} records")
            self._clock.told(reply.now)
            return reply

    def _refused(self, batch: list[tuple[ClaimedRun, Unit]], error: AikiError, *, tries: int) -> None:
        """Send what was refused as a whole again, in halves, until what is refused is one run's own data.

        Anything else, a bug of the daemon too, says nothing about a run: it passes, or the lease ends first. An
        outcome given up for it would be made once more though its worker lives (promises P2 and P3).
        """
        is_data = isinstance(error, UsageError)
        if is_data and len(batch) == 1:
            self._refused_alone(*batch[0], error)
            return
        level = logging.WARNING if tries == 1 else logging.DEBUG
        log.log(level, "outcomes of %d runs were not recorded, and are sent again: %s", len(batch), error)
        wait = 0.0 if is_data else min(RETRY_SECONDS * 2**tries, RETRY_SECONDS_MAX)
        half = len(batch) // 2
        for part in filter(None, (batch[:half], batch[half:])):
            self._start_lane(self._record(part, tries=tries, wait=wait))

    def _refused_alone(self, execution: ClaimedRun, unit: Unit, error: AikiError) -> None:
        if len(parts := cut(unit, self._room)) > 1:
            self._start_lane(self._record_in_parts(execution, unit, parts))
        else:
            execution.on_recorded(Recorded("refused", error.message))

    async def _record_in_parts(self, execution: ClaimedRun, unit: Unit, parts: list[Unit]) -> None:
        """Record a unit that fits no message: its next part only when the one before is durable."""
        left = deque(parts)
        recorded = Recorded("done")
        answers: dict[str, KeyAnswer] = {}
        while left and recorded.result == "done":
            part = left.popleft()
            try:
                (recorded,) = (await self._reply([part])).units
                answers.update((ask.call, answer) for ask, answer in zip(part.keys, recorded.keys, strict=False))
                if self._talk is not None and recorded.result == "done":
                    self._talk.recorded(execution.claimed, part, parked=recorded.parked)
            except UsageError as error:
                # Cut for a larger server: a reconnect has led to one that takes less.
                left.extendleft(reversed(smaller := cut(part, self._room)))
                if len(smaller) == 1:
                    recorded = Recorded("refused", error.message)
            except AikiError as error:
                log.warning("outcomes of run %s were not recorded, and are sent again: %s", part.fence.run_id, error)
                left.appendleft(part)
                await asyncio.sleep(RETRY_SECONDS_MAX)
        if unit.keys and recorded.result == "done":
            recorded = replace(recorded, keys=[answers[ask.call] for ask in unit.keys])
        execution.on_recorded(recorded)

    @property
    def _room(self) -> int:
        return request_room(self._transport.room)

    def _start_lane(self, work: Coroutine[Any, Any, None]) -> None:
        lane = asyncio.create_task(work)
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)
