"""Runs in memory that are cancelled at a second of theirs, and a task that takes its time to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import calls
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000
approved = Event("approved", type=str)

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
At = tuple[float, Callable[[World], object]]


def lived(body: Body, *moments: At, **options: Any) -> World:
    """Run the body to its end while this happens at its second."""

    @workflow(name="lived", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        over = asyncio.create_task(world.finish())
        for seconds, do in moments:
            await asyncio.sleep(max(0, seconds - (world.clock() - EPOCH) / SECOND))
            do(world)
        await over
        return world

    return simulate(main())


def at(seconds: float, reason: str = "requested") -> At:
    return seconds, lambda world: world.cancel(reason)


def keys(world: World) -> list[str]:
    return [entry.key.split(":")[0] for entry in world.journal]


def ended(world: World) -> Move:
    assert world.end is not None
    return world.end.move


@task(cancel_grace="5s")
async def stubborn(seconds: float) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        calls.append("told")
        await asyncio.sleep(seconds)
        calls.append("over")
    return "done"
