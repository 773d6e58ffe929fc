"""What a run leaves behind in its worker: nothing, without a search for circles, which would hold up all the others."""

from __future__ import annotations

import gc

from aiki.definitions.workflow import workflow
from aiki.execution.execution import Execution
from aiki.execution.tasks.signs import Signs
from aiki.execution.tasks.started import Started
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import double
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

approved = Event("approved", type=str)


@workflow(name="all", version="1")
async def all_there_is(run: WorkflowRun) -> str:
    await double.run(run, 1)
    await run.sleep("1s")
    return await run.wait_for(approved)


def kept() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, (Execution, Started, Signs))]


def test_a_run_that_is_over_leaves_memory_at_once() -> None:
    async def main() -> World:
        world = World(all_there_is)
        world.send(approved.bind("yes"))
        await world.finish()
        return world

    gc.collect()
    before = len(kept())
    gc.disable()
    try:
        world = simulate(main())
        assert (world.execution, len(kept())) == (None, before)
    finally:
        gc.enable()
