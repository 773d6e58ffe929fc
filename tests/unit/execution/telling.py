"""Own how a body is told something while it runs: what reaches it at which second, and that its replay is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiki.definitions.workflow import workflow
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, output
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000
approved, voted = Event("approved", type=str), Event("voted", type=int)

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
Outside = Callable[[World], Coroutine[Any, Any, None]]


def told(body: Body, outside: Outside | None = None, *, before: Outside | None = None, **options: Any) -> World:
    """Run the body to its end while `outside` goes on beside it, and again from its journal."""

    @workflow(name="told", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        if before is not None:
            await before(world)
        beside = None if outside is None else asyncio.create_task(outside(world))
        await world.finish()
        if beside is not None:
            await beside
        return world

    world = simulate(main())
    assert output(again(world)) == output(world)
    return world


def at(*moments: tuple[float, Callable[[World], object]]) -> Outside:
    """Return what does each of these at its second."""

    async def go(world: World) -> None:
        for seconds, do in moments:
            await asyncio.sleep(max(0, seconds - (world.clock() - EPOCH) / SECOND))
            do(world)

    return go


def says(text: str) -> Callable[[World], object]:
    return lambda world: world.send(approved.bind(text))


def votes(number: int) -> Callable[[World], object]:
    return lambda world: world.send(voted.bind(number))


def unread(world: World) -> list[bytes]:
    return [bytes(arrival.value) for arrival in world.inbox.unread]
