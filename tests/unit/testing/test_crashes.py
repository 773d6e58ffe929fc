"""A worker that dies in a test: what it has not recorded is lost, and what may not be done twice is not."""

from __future__ import annotations

import asyncio

import pytest

from aiki import RunBlocked, State, TaskOutcomeUnknown, WorkflowRun, task, workflow
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio
begun: list[str] = []
gate: asyncio.Event


@pytest.fixture(autouse=True)
async def a_gate() -> None:
    global gate
    gate = asyncio.Event()
    begun.clear()


@task
async def gated() -> str:
    begun.append("gated")
    await gate.wait()
    return "through"


@task(at_most_once=True)
async def once() -> str:
    begun.append("once")
    await gate.wait()
    return "through"


@workflow
async def calls_gated(run: WorkflowRun) -> str:
    return await gated.run(run)


@workflow
async def calls_once(run: WorkflowRun) -> str:
    try:
        return await once.run(run)
    except TaskOutcomeUnknown:
        return "unknown"


async def test_a_task_that_ran_when_its_worker_died_runs_again() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(calls_gated)
        await env.crash_worker()
        gate.set()
        assert await handle.result() == "through"
        assert begun == ["gated", "gated"]
        assert (await handle.status()).claims == 2


async def test_a_task_that_may_begin_but_once_does_not_begin_again() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(calls_once)
        await env.crash_worker()
        assert await handle.result() == "unknown"
        assert begun == ["once"]


async def test_a_run_that_costs_one_worker_after_the_other_is_set_aside() -> None:
    async with TestEnv() as env:
        env.mock(gated).takes("1h")
        handle = await env.enqueue(calls_gated)
        for _ in range(5):
            await env.crash_worker()
            if (due_at := (await handle.status()).due_at) is not None:
                await env.advance(due_at - env.now())
        assert (await handle.status()).state is State.BLOCKED
        with pytest.raises(RunBlocked, match="crash_loop"):
            await handle.result()


async def test_a_crash_while_all_runs_wait_costs_none_of_them_anything() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(sleeps)
        for _ in range(9):
            await env.crash_worker()
        await env.advance("1d")
        assert await handle.result() == "slept"


@workflow
async def sleeps(run: WorkflowRun) -> str:
    await run.sleep("1d")
    return "slept"
