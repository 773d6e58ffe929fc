"""The bench may be given another loop for timers, and what is tried in the place of a task."""

from __future__ import annotations

import asyncio
from typing import Any

from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution import Bench
from aiki.inside.workflow_run import WorkflowRun
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@task
async def real() -> str:
    return "real"


@task(timeout="1m")
async def stand_in() -> str:
    this = asyncio.current_task()
    assert this is not None
    assert asyncio.get_running_loop() is this.get_loop()
    return "stand-in"


@workflow
async def one_call(run: WorkflowRun) -> str:
    return await real.run(run)


class Noting(asyncio.SelectorEventLoop):
    """A loop that never runs, and notes what timers it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def call_later(self, delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.delays.append(delay)
        return super().call_later(delay, *args, **kwargs)

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        return asyncio.get_running_loop().call_soon(*args, **kwargs)


def test_what_stands_in_is_tried_on_the_running_loop_and_its_timers_are_set_on_the_given_one() -> None:
    async def main() -> Noting:
        world, loop = World(one_call), Noting()
        asked: list[Task[Any, Any]] = []

        def of(task: Task[Any, Any]) -> Task[Any, Any]:
            asked.append(task)
            return stand_in

        world._bench = Bench(world.lease, now=world.now, room=world.room, pools=world.pools, loop=loop, stand_in=of)
        end = await world.finish()
        assert (end.move, bytes(end.output), asked) == (Move.COMPLETE, b'"stand-in"', [real])
        loop.close()
        return loop

    assert simulate(main()).delays == [60.0]
