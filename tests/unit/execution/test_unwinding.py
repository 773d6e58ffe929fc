"""How a body leaves memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator

import anyio
import pytest

from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.bodies import Body, quick, seen, wait
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def left(body: Body) -> list[str]:
    """Start the body, and take it out of memory where it waits."""

    @workflow(name="leaves", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> None:
        world = World(flow)
        world.claim()
        await asyncio.sleep(1)
        assert world.execution is not None
        written = len(world.units)
        world.execution.drop()
        assert len(world.units) == written

    simulate(main())
    return seen


def test_finally_runs_and_durable_calls_in_it_do_nothing() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await wait.run(run, "x")
        except Exception:  # noqa: BLE001 - it must not see the end of memory
            seen.append("except")
        finally:
            seen.append("finally")
            await quick.run(run, "refund")
            seen.append("after")

    assert left(body) == ["finally"]


def test_what_is_decided_at_once_is_still_answered_while_the_run_leaves() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await wait.run(run, "x")
        finally:
            seen.append(f"patched {run.patched('new')}")
            await run.sleep("1s")
            seen.append("after")

    assert left(body) == ["patched True"]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_run_that_has_left_memory_is_freed_without_the_garbage_collector(seconds: int) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    @workflow(name="leaves", version="1")
    async def flow(run: WorkflowRun, seconds: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(quick.run(run, "x"), quick.run(run, "y"))
        await asyncio.sleep(seconds)

    async def main() -> None:
        world = World(flow, b'{"seconds":%d}' % seconds)
        gc.collect()
        gc.disable()
        try:
            world.claim()
            await world.settle()
            assert loops[0]() is None
        finally:
            gc.enable()

    simulate(main())


def test_branches_end_newest_first_and_see_no_cancellation() -> None:
    async def branch(run: WorkflowRun, name: str) -> None:
        try:
            await wait.run(run, name)
        except asyncio.CancelledError:
            seen.append(f"cancelled {name}")
            raise
        finally:
            seen.append(name)

    async def body(run: WorkflowRun) -> None:
        async with asyncio.timeout(5000), asyncio.TaskGroup() as group:
            group.create_task(branch(run, "1"))
            group.create_task(branch(run, "2"))

    assert left(body) == ["2", "1"]


def test_anyio_groups_and_context_managers_are_unwound() -> None:
    @contextlib.asynccontextmanager
    async def manager(run: WorkflowRun) -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append("manager")

    async def branch(run: WorkflowRun) -> None:
        try:
            await wait.run(run, "n")
        finally:
            seen.append("branch")

    async def body(run: WorkflowRun) -> None:
        async with manager(run), anyio.create_task_group() as group:
            group.start_soon(branch, run)

    assert sorted(left(body)) == ["branch", "manager"]


def test_a_body_that_swallows_its_end_once_is_unwound_at_its_next_call() -> None:
    async def body(run: WorkflowRun) -> None:
        with contextlib.suppress(BaseException):
            await wait.run(run, "x")
        seen.append("went on")
        await quick.run(run, "next")
        seen.append("never")

    assert left(body) == ["went on"]


def test_a_body_that_cannot_be_unwound_is_logged_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = [True]

    async def body(run: WorkflowRun) -> None:
        while stubborn:
            with contextlib.suppress(BaseException):
                await wait.run(run, "x")

    with caplog.at_level(logging.ERROR, "aiki.execution"):
        left(body)
    assert "cannot be unwound" in caplog.records[0].message
    assert "in body" in caplog.records[0].message
    stubborn.clear()  # the coroutine that was kept ends with the interpreter
