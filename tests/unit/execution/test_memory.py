"""What a run leaves behind in its worker: nothing, without a search for circles, which would hold up all the others."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from aiki.core.errors import ChildFailed, TaskFailed
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution.body import Body
from aiki.execution.execution import Execution
from aiki.execution.family import Family
from aiki.execution.tasks.signs import Signs
from aiki.execution.tasks.started import Started
from aiki.inside.child import Child
from aiki.inside.event import Event
from aiki.inside.kin import Kin
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.families import breaks, square
from tests.unit.execution.replays import double
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

approved = Event("approved", type=str)


@workflow(name="all", version="1")
async def all_there_is(run: WorkflowRun) -> str:
    await double.run(run, 1)
    await run.sleep("1s")
    return await run.wait_for(approved)


@task(retry=Retry.none())
async def breaking() -> None:
    raise ValueError("no")


@workflow(name="fails", version="1")
async def fails(run: WorkflowRun) -> None:
    for _ in range(2):
        with suppress(TaskFailed):
            await breaking.run(run)
    await breaking.run(run)


@workflow(name="parent", version="1")
async def parent(run: WorkflowRun) -> int:
    await square.options(parent_close="wait").start(run, 1)
    children = [await square.start(run, 2), await square.options(idempotency_key="k").start(run, 3)]
    failed = await breaks.start(run, "no")
    for _ in range(2):  # the second time it is known
        with suppress(ChildFailed):
            await failed.result()
    return sum(await run.all(children))


@workflow(name="mourns", version="1")
async def mourns(run: WorkflowRun) -> None:
    await square.options(parent_close="wait").start(run, 1)
    failed = await breaks.start(run, "no")
    with suppress(ChildFailed):
        await failed.result()
    await failed.result()


@workflow(name="onward", version="1")
async def onward(run: WorkflowRun, left: int = 3) -> None:
    async def branch() -> None:
        await double.run(run, left)
        onward.continue_as_new(run, left - 1)

    if left == 1:
        await asyncio.gather(branch(), asyncio.Event().wait())
    if left == 2:
        branches = [asyncio.create_task(branch())]
        await asyncio.Event().wait()
        branches.clear()
    if left == 3:
        await branch()


def kept() -> list[object]:
    kinds = (Execution, Body, WorkflowRun, Started, Signs, Family, Child, Kin)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


@pytest.mark.parametrize("flow", [all_there_is, fails, parent, mourns, onward], ids=lambda flow: flow.name)
def test_a_run_that_is_over_leaves_memory_at_once(flow: Workflow[Any, Any]) -> None:
    async def main() -> World:
        world = World(flow, children=[square, breaks])
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
