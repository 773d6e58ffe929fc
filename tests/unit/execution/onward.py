"""Bodies that go on as new, run to the end of their first generation or of their run."""

from __future__ import annotations

import asyncio
from typing import Any

from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.unit.execution.families import At, Body
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@task(retry=Retry.none())
async def fails(number: int) -> int:
    raise ValueError(number)


def first_end(body: Body, **options: Any) -> End:
    """Return how the first generation of a run ends whose body is this one, and `again` the workflow that it is of."""
    return ended(body, **options).end  # type: ignore[return-value]  # it has one


def ended(body: Body, **options: Any) -> World:
    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun, n: int = 0) -> Any:
        if n:
            return n
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        world.claim()
        await world.settle()
        return world

    return simulate(main())


def lived(body: Body, *moments: At) -> World:
    """Run two generations of a run to its end, the first of this body, while this happens at its second."""

    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun, n: int = 0) -> Any:
        return n or await body(run)

    async def main() -> World:
        world = World(flow)
        over = asyncio.create_task(world.finish())
        for seconds, do in moments:
            await asyncio.sleep(seconds)
            do(world)
        await over
        return world

    return simulate(main())


def ended_by(world: World) -> list[Move]:
    """Return how the claims of a run have ended, but for its sleeps before the last."""
    return [move for move in world.ends[:-1] if move is not Move.SLEEP or len(world.ends) == 2] + world.ends[-1:]


@workflow(name="again", version="1")
async def again(run: WorkflowRun, n: int = 0) -> Any: ...
