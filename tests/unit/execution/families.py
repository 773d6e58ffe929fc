"""Parents in memory with their children, run to their ends, and parents replayed from what they have recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, calls, output
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
At = tuple[float, Callable[[World], object]]
approved = Event("approved", type=str)


@workflow(name="square", version="1")
async def square(run: WorkflowRun, number: int) -> int:
    return number * number


@workflow(name="sleeper", version="1")
async def sleeper(run: WorkflowRun, seconds: int, text: str = "slept") -> str:
    try:
        await run.sleep(f"{seconds}s")
    except asyncio.CancelledError:
        calls.append(f"{text} cancelled")
        raise
    calls.append(text)
    return text


@workflow(name="breaks", version="1")
async def breaks(run: WorkflowRun, text: str) -> None:
    raise ValueError(text)


@workflow(name="hears", version="1")
async def hears(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


FLOWS: tuple[Workflow[Any, Any], ...] = (square, sleeper, breaks, hears)


def raised(body: Body, *moments: At, flows: tuple[Workflow[Any, Any], ...] = FLOWS, **options: Any) -> World:
    """Run a parent to its end, whatever that is, and its children to theirs; at each second this happens."""

    @workflow(name="parent", version="1")
    async def parent(run: WorkflowRun) -> Any:
        return await body(run)

    async def main() -> World:
        world = World(parent, children=flows, **options)
        over = asyncio.create_task(world.finish())
        for seconds, do in moments:
            await asyncio.sleep(max(0, seconds - (world.clock() - EPOCH) / 1_000_000))
            do(world)
        await over
        while left := [life for run in world.runs.values() for life in run.lives if not life.done()]:
            await asyncio.wait(left)
        return world

    return simulate(main())


def grown(body: Body, *moments: At, **options: Any) -> World:
    """Run a parent to its end, and replay it: it returns the same, and starts nobody."""
    world = raised(body, *moments, **options)
    repeated = again(world)
    assert output(repeated) == output(world)
    assert not any(unit.starts or unit.stops or unit.entries for unit in repeated.units)
    return world


def keys(world: World) -> list[str]:
    """Return the kinds of what the journal holds."""
    return [entry.key.split(":")[0] for entry in world.journal]


def children(world: World) -> list[World]:
    return [link.child for link in world.family.children.values()]
