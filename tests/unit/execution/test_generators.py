"""Async generators that are dropped before their end: whose loop closes them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from aiki.core.errors import TaskFailed
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.bodies import quick, seen
from tests.unit.execution.replays import output, run
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


async def numbers(closers: list[asyncio.AbstractEventLoop]) -> AsyncIterator[int]:
    try:
        for number in range(3):
            yield number
    finally:
        closers.append(asyncio.get_running_loop())


async def dropped(closers: list[asyncio.AbstractEventLoop]) -> None:
    async for _ in numbers(closers):
        break


def test_a_generator_that_a_body_drops_is_closed_in_the_body_and_others_by_the_loop_around() -> None:
    inside: list[asyncio.AbstractEventLoop] = []
    outside: list[asyncio.AbstractEventLoop] = []

    @workflow(name="drops", version="1")
    async def flow(run: WorkflowRun) -> None:
        for name in "abc":
            await dropped(inside)
            await quick.run(run, name)
        assert set(inside) == {asyncio.get_running_loop()}

    async def main() -> None:
        world = World(flow)
        for _ in range(3):
            await dropped(outside)
        world.claim()
        while world.execution is not None:
            await dropped(outside)  # often at the address of one of the body's
            await asyncio.sleep(0.0001)
        await asyncio.sleep(0)
        assert set(outside) == {asyncio.get_running_loop()}

    simulate(main())
    assert len(inside) == 3


def test_durable_calls_of_a_generator_that_a_body_drops_are_made() -> None:
    async def stream(run: WorkflowRun) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append(await quick.run(run, "closed"))

    @workflow(name="drops", version="1")
    async def flow(run: WorkflowRun) -> None:
        async for _ in stream(run):
            break
        await quick.run(run, "after")
        await asyncio.sleep(1)

    async def main() -> None:
        world = World(flow)
        await world.finish()
        assert len(world.journal) == 3

    simulate(main())
    assert seen == ["closed"]


def test_a_generator_that_outlives_its_run_is_closed_by_nobody() -> None:
    kept: list[AsyncIterator[int]] = []
    closers: list[asyncio.AbstractEventLoop] = []

    @workflow(name="keeps", version="1")
    async def flow(run: WorkflowRun) -> None:
        kept.append(numbers(closers))
        await anext(kept[0])

    async def main() -> None:
        world = World(flow)
        await world.finish()
        kept.clear()
        gc.collect()
        await asyncio.sleep(0)

    simulate(main())
    assert closers == []


def test_the_hooks_of_a_thread_are_changed_once_however_many_steps_there_are() -> None:
    hooks = []

    @workflow(name="steps", version="1")
    async def flow(run: WorkflowRun) -> None:
        for name in "abc":
            await quick.run(run, name)
            hooks.append(sys.get_asyncgen_hooks())

    async def main() -> None:
        await World(flow).finish()
        hooks.append(sys.get_asyncgen_hooks())

    simulate(main())
    assert len(set(hooks)) == 1


@task(retry=Retry.none())
async def breaking() -> None:
    raise ValueError("no")


def test_a_generator_that_a_failure_has_left_ends_when_that_is_forgotten_and_not_when_circles_are_looked_for() -> None:
    ends: list[str] = []

    async def values() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ends.append("ended")

    async def uses(run_of: WorkflowRun) -> None:
        left = values()
        async for _ in left:
            await breaking.run(run_of)

    @workflow(name="leaves", version="1")
    async def leaves(run_of: WorkflowRun) -> list[str]:
        with suppress(TaskFailed):
            await uses(run_of)
        await run_of.sleep("1s")
        return [*ends]

    gc.collect()
    gc.disable()
    try:
        assert output(run(leaves)) == '["ended"]'
    finally:
        gc.enable()
