"""Own what one test has of its own: its clock, an engine in memory, a worker; and how the clock goes on.

Two stages know nothing of each other. The clock goes on only while nothing moves, from one date to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiki.core.states import SETTLED
from aiki.definitions.workflow import Workflow
from aiki.testing import resting
from aiki.testing.clock import Clock, ClockLoop
from aiki.testing.engine import Engine
from aiki.testing.finding import Served
from aiki.testing.host import Host
from aiki.testing.stillness import Stillness, StillWaiting
from aiki.testing.ways import Ways
from aiki.testing.work import Work
from aiki.wire.messages import RunStatus, Status, Why

_TURNS: Final = 3


class Stage:
    """Made on the loop of its test."""

    def __init__(
        self, clock: Clock, workflows: Iterable[Workflow[..., Any]], ways: Ways, work: Work, *, patience: float
    ) -> None:
        """`work` is told of the tasks that run; `patience` is in seconds of real time."""
        self.clock = clock
        self.running = asyncio.get_running_loop()
        self.loop = ClockLoop(self.clock, self.running)  # type: ignore[abstract]  # it is no loop to run
        self.engine = Engine(lambda: self.clock.now)
        self.served = Served(workflows)
        self.host = Host(self.engine, self.clock, self.loop, self.served, ways)
        self.stillness = Stillness(self.loop, self.host, work, patience)
        self.engine.on_queued = self.host.claim_soon
        self.engine.on_told = self.host.told
        self.engine.store.look = self.host.look
        self._moving = asyncio.Lock()
        self._asked = 0
        self._work = work

    @property
    def is_idle(self) -> bool:
        """Whether nobody lets the clock go on, and no task runs in real time."""
        return not self._moving.locked() and self.host.trying <= self._work.asleep

    async def close(self) -> None:
        """Drop what still runs; coroutines that are cut off have a turn to end in."""
        self.host.close()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def serve(self, name: str, version: str) -> None:
        """Have runs of a workflow be run. Raises UsageError if nothing that is known or that calls this names it."""
        self.host.serve(self.served.require(name, version))

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has gone on by so much; it may go on meanwhile."""
        over = self.running.create_future()
        timer = self.loop.call_later(seconds, _end, over)
        self._work.asleep += 1
        try:
            await over
        finally:
            self._work.asleep -= 1
            timer.cancel()

    async def advance(self, microseconds: int) -> None:
        """Let the clock go on, from date to date, each when nothing moves any more. Raises StillWaiting."""
        async with self._moving:
            target = self.clock.now + microseconds
            await self._settle()
            while (due_at := self.due_at()) is not None and due_at <= target:
                self.clock.now = max(self.clock.now, due_at)
                self.engine.pass_time()
                self.loop.ring()
                await self._settle()
            self.clock.now = target

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Let the clock not go on before a call has its answer, that is on its way to the engine."""
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    async def rest(self) -> None:
        """Return when nothing is to run soon, and what only waits has left memory. Tasks may run."""
        await self.stillness.calm()
        self.host.suspend()
        await self.stillness.calm()

    async def crash(self) -> None:
        """Lose the worker, as it is while its tasks run; runs that only wait have left it long before."""
        await self.rest()
        self.host.crash()
        await self.stillness.calm()

    async def stop_worker(self) -> None:
        """Let the worker drain and go: nobody serves until one starts."""
        self.host.drain()
        await self.stillness.still()
        self.host.leave()

    async def start_worker(self) -> None:
        """Have a worker serve again."""
        self.host.open()
        await self.stillness.calm()

    async def end(self, run_id: str) -> RunStatus | None:
        """Return a run that has ended or needs a person; None if there is none. Raises StillWaiting if it only waits.

        While another part of the test lets the clock go on, or has a call on its way, that is waited for first.
        """
        await self._quiet()
        run = self.read(run_id)
        if run is None or run.state in SETTLED:
            return run
        await self.rest()
        run = self.read(run_id)
        if run is None or run.state in SETTLED:
            return run
        raise self.waiting(run)

    def read(self, run_id: str) -> RunStatus | None:
        """Return a run as it is now."""
        found = self.engine.answer(Status([run_id])).runs
        return found[0] if found else None

    def due_at(self) -> int | None:
        """Return when something happens next by itself."""
        dates = [at for at in (self.clock.due_at(), self.engine.due_at()) if at is not None]
        return min(dates, default=None)

    def waiting(self, run: RunStatus) -> StillWaiting:
        """Return the error for whoever waits for a run that does not move."""
        words, last = self.why(run)
        return StillWaiting(
            f"run {run.id} of workflow {run.workflow!r} has not ended: it {words}, and the test's clock stands still",
            hint=resting.remedy(last, self.clock.now, due_at=self.due_at()),
        )

    def why(self, run: RunStatus) -> tuple[str, RunStatus]:
        """Return why a run does not move, in words, and the run in which that ends."""
        (found,) = self.engine.answer(Why([run.id])).runs
        last = self.read(found.path[-1]) if found.path else None
        last = last or run
        return resting.waits_for(run, found, last, self.clock.now), last

    async def _quiet(self) -> None:
        """Return when no part of the test moves anything, and has had some turns to begin with that."""
        moves = -1
        while self._moving.locked() or self._asked or self.loop.moves != moves:
            async with self._moving:
                await self._settle()
            moves = self.loop.moves
            await self.stillness.calm()

    async def _settle(self) -> None:
        await self.stillness.still()
        while self._asked:
            await asyncio.sleep(0)
            await self.stillness.still()


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
