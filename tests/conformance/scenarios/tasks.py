"""Scenarios of tasks: tried once, again, and no more."""

from __future__ import annotations

import asyncio

import pytest

from aiki import Fatal, Retry, RunFailed, State, TaskFailed, WorkflowRun, task, task_run, workflow
from tests.conformance.stage import Stage, scenario


@task
async def add(a: int, b: int) -> int:
    return a + b


@task
def shout(word: str) -> str:
    return word.upper()


@workflow
async def sums(run: WorkflowRun, n: int) -> list[str]:
    first = await add.run(run, n, 1)
    pair = await asyncio.gather(add.run(run, first, 1), shout.run(run, "x"))
    return [str(first), *map(str, pair)]


@scenario(sums)
async def tasks_run_once_each_in_the_order_asked(stage: Stage) -> None:
    handle = await stage.client.enqueue(sums.bind(1))
    assert await handle.result() == ["2", "3", "X"]
    assert (await handle.status()).tasks == 3


@task(retry=Retry.fixed(3, "10s"))
async def flaky(good_from: int) -> int:
    if task_run().attempt < good_from:
        raise ValueError(f"try {task_run().attempt} fails")
    return task_run().attempt


@workflow
async def tried(run: WorkflowRun, good_from: int) -> int:
    return await flaky.run(run, good_from)


@scenario(tried)
async def a_task_that_fails_is_tried_again_after_its_delay(stage: Stage) -> None:
    handle = await stage.client.enqueue(tried.bind(3))
    await stage.settle()
    assert (await handle.status()).state is State.RETRYING
    await stage.advance("9s")
    assert (await handle.status()).state is State.RETRYING
    await stage.advance("11s")
    assert await handle.result() == 3


@scenario(tried)
async def a_task_gives_up_after_its_last_try(stage: Stage) -> None:
    handle = await stage.client.enqueue(tried.bind(9))
    await stage.advance("20s")
    with pytest.raises(RunFailed, match="try 3 fails"):
        await handle.result()


@task(retry=Retry.from_delays(["1s", "2s"]))
async def fatal() -> None:
    raise Fatal("no use")


@workflow
async def catching(run: WorkflowRun) -> str:
    try:
        await fatal.run(run)
    except TaskFailed as error:
        return f"{error.type}: {error.message}, {error.attempts}"
    return "none"


@scenario(catching)
async def a_fatal_error_is_not_tried_again_and_the_body_may_catch_it(stage: Stage) -> None:
    handle = await stage.client.enqueue(catching.bind())
    assert await handle.result() == "Fatal: no use, 1"
