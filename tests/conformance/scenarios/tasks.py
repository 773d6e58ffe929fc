"""Scenarios of tasks: tried once, again, and no more."""

from __future__ import annotations

import asyncio

import pytest

from aiki import (
    Conflict,
    Fatal,
    Retry,
    RetryAfter,
    RunFailed,
    State,
    TaskFailed,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
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


RULES = {
    "fixed": Retry.fixed(4, "10s"),
    "linear": Retry.linear(4, "10s"),
    "exponential": Retry.exponential(4, "10s", "30s"),
    "listed": Retry.from_delays(["1s", "1m", "2s"]),
    "none": Retry.none(),
    "picky": Retry.fixed(4, "10s", never_on=ValueError),
    "in time": Retry.fixed(4, "10s", max_elapsed="15s"),
}


@workflow
async def by_rule(run: WorkflowRun, name: str) -> str:
    try:
        await flaky.options(retry=RULES[name]).run(run, 9)
    except TaskFailed as error:
        return f"{error.attempts} tries in {run.now().timestamp() % 3600:g} s"
    return "never"


@scenario(by_rule)
async def each_strategy_has_its_delays(stage: Stage) -> dict[str, str]:
    handles = {name: await stage.client.enqueue(by_rule.bind(name)) for name in RULES}
    await stage.advance("10m")
    told = {name: await handle.result() for name, handle in handles.items()}
    assert told["linear"] == "4 tries in 60 s"
    assert told["none"] == "1 tries in 0 s"
    return told


@task(retry=Retry.fixed(3, "1s"))
async def busy() -> str:
    if task_run().attempt == 1:
        raise RetryAfter("5m")
    return "done"


@workflow
async def told_when(run: WorkflowRun) -> str:
    return await busy.run(run)


@scenario(told_when)
async def a_task_says_itself_when_it_is_to_be_tried_again(stage: Stage) -> None:
    handle = await stage.client.enqueue(told_when.bind())
    await stage.advance("4m59s")
    assert (await handle.status()).state is State.RETRYING
    await stage.advance("1s")
    assert await handle.result() == "done"


@workflow
async def shared(run: WorkflowRun) -> list[str]:
    keyed = shout.options(idempotency_key="k")
    both = list(await asyncio.gather(keyed.run(run, "x"), keyed.run(run, "x")))
    try:
        await keyed.run(run, "y")
    except Conflict as error:
        both.append(type(error).__name__)
    return both


@scenario(shared)
async def calls_with_one_key_share_one_execution(stage: Stage) -> None:
    handle = await stage.client.enqueue(shared.bind())
    assert await handle.result() == ["X", "X", "Conflict"]
    assert (await handle.status()).tasks == 1


@workflow
async def draws(run: WorkflowRun) -> list[str]:
    drawn = [str(run.random()), str(run.uuid()), str(run.now())]
    await run.sleep("1m")
    return [*drawn, str(run.random()), str(run.now()), str(run.journal_size.entries)]


@scenario(draws)
async def what_a_body_draws_and_reads_of_the_time_is_the_same_on_each_engine(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(draws.bind())
    await stage.settle()
    await stage.crash_worker()
    await stage.advance("1m")
    return await handle.result()
