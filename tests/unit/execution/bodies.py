"""Bodies that are run to their end, and what they were seen to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]


seen: list[str] = []


@task
async def wait(name: str) -> str:
    await asyncio.sleep(1000)
    return name


@task
async def quick(name: str) -> str:
    return name


async def in_thread(fn: Callable[[], Any]) -> Any:
    loop: Any = asyncio.get_running_loop()
    loop.outside += 1
    try:
        return await asyncio.to_thread(fn)
    finally:
        loop.outside -= 1


def end_of(body: Body) -> End:
    @workflow(name="body", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> End:
        return await World(flow).finish()

    return simulate(main())


def failure_of(body: Body) -> str:
    end = end_of(body)
    assert end.move is Move.FAIL
    return bytes(end.error).decode()
