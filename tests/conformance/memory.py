"""Own the stage in memory: what a `TestEnv` is made of, with runs that leave memory whenever they wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiki import Client, Workflow
from aiki.core.duration import Duration, to_microseconds
from aiki.execution import Limits
from aiki.testing.clock import Clock
from aiki.testing.stage import Stage
from aiki.testing.ways import LEAVING, Ways
from aiki.testing.wire import MemoryWire
from aiki.testing.work import Work
from aiki.wire.messages import Request
from tests.conformance.clock import EPOCH
from tests.waiting import patient

R = TypeVar("R")


@asynccontextmanager
async def memory_stage(
    workflows: Sequence[Workflow[..., Any]], *, limits: Limits = LEAVING, replays: bool = False
) -> AsyncIterator[MemoryStage]:
    """Open an engine of its own for one scenario."""
    work = Work()
    ways = Ways(limits, work.watched, _itself, replays=replays)
    inside = Stage(Clock(EPOCH), workflows, ways, work, patience=patient(5))
    client = Client(MemoryWire(inside))
    await client.open()
    try:
        yield MemoryStage(inside, client)
    finally:
        await client.close()
        await inside.close()


def _itself(workflow: Workflow[..., Any]) -> Workflow[..., Any]:
    return workflow


class MemoryStage:
    """An engine in memory."""

    def __init__(self, inside: Stage, client: Client) -> None:
        self._inside = inside
        self.client = client
        self.crash_worker = inside.crash
        self.stop_worker = inside.stop_worker
        self.start_worker = inside.start_worker

    async def settle(self) -> None:
        """Return when nothing moves before a date or a word from outside."""
        await self._inside.stillness.still()

    async def advance(self, by: Duration) -> None:
        """Let so much time pass, and all that is due meanwhile happen in its order."""
        await self._inside.advance(to_microseconds(by))

    async def miss(self, by: Duration) -> None:
        """Let so much time pass at once, as while no daemon runs: what was due meanwhile is late."""
        inside = self._inside
        inside.clock.now += to_microseconds(by)
        inside.engine.pass_time()
        inside.loop.ring()
        await self.settle()

    async def call(self, request: Request[R]) -> R:
        """Return what the engine answers to somebody else than its client and its worker."""
        return self._inside.engine.answer(request)
