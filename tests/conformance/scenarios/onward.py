"""Scenarios of runs that go on as new: generations, with what reaches them and what they leave."""

from __future__ import annotations

from typing import Any

from aiki import Event, State, WorkflowRun, task, workflow
from tests.conformance.answers import entries, state
from tests.conformance.stage import Stage, scenario

approved = Event("approved", type=str)


@task
async def add(number: int) -> int:
    return number + 1


@workflow
async def adding(run: WorkflowRun, until: int, number: int = 0) -> list[int]:
    number = await add.run(run, number)
    if number < until:
        adding.continue_as_new(run, until, number=number)
    return [run.generation, number]


@scenario(adding, shows=("onward.swap",))
async def a_run_goes_on_in_generation_after_generation(stage: Stage) -> None:
    handle = await stage.client.enqueue(adding.options(idempotency_key="k", priority=2, labels={"a": "b"}).bind(4))
    await stage.settle()
    assert await handle.result() == [3, 4]
    status = await handle.status()
    assert (status.generation, status.tasks, status.priority, status.labels) == (3, 1, 2, {"a": "b"})


@workflow
async def gathering(run: WorkflowRun, count: int, heard: list[str]) -> list[str]:
    heard.append(await run.wait_for(approved))
    if len(heard) < count:
        gathering.continue_as_new(run, count, heard)
    return heard


@scenario(gathering, shows=("onward.arrivals",))
async def unread_events_go_on_with_it(stage: Stage) -> None:
    await stage.stop_worker()
    handle = await stage.client.enqueue(gathering.bind(4, []))
    for word in ("a", "b", "c"):
        await handle.send(approved, word)
    await stage.start_worker()
    await stage.settle()
    await handle.send(approved, "d")
    await stage.settle()
    assert await handle.result() == ["a", "b", "c", "d"]


@scenario(gathering, shows=("onward.cancel",))
async def a_cancel_ends_it_in_whatever_generation(stage: Stage) -> None:
    handle = await stage.client.enqueue(gathering.bind(4, []))
    await handle.send(approved, "a")
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED
    assert (await handle.status()).generation == 1


@workflow
async def stubborn(run: WorkflowRun) -> None:
    try:
        await run.wait_for(approved)
    finally:
        stubborn.continue_as_new(run)


@scenario(stubborn, shows=("onward.cancel",))
async def behind_its_cancel_no_generation_begins(stage: Stage) -> None:
    handle = await stage.client.enqueue(stubborn.bind())
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED
    assert (await handle.status()).generation == 0


@workflow
async def hears(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


@workflow
async def leaves(run: WorkflowRun, generation: int) -> list[Any]:
    child = await hears.start(run)
    await run.sleep("1m")
    if generation == 0:
        leaves.continue_as_new(run, 1)
    return [run.generation, await child.result()]


@scenario(leaves, hears, shows=("onward.children",))
async def a_child_of_an_earlier_generation_wakes_nobody_and_ends_with_the_run(stage: Stage) -> None:
    handle = await stage.client.enqueue(leaves.bind(0))
    await stage.advance("2m")
    children = sorted((await stage.client.runs.list(parent=handle.run_id)).runs, key=lambda run: run.created_at)
    first, second = (hears.handle(stage.client, child.run_id) for child in children)
    claims = (await handle.status()).claims
    await first.send(approved, "unheard")
    await stage.settle()
    assert await state(first) is State.COMPLETED
    assert (await handle.status()).claims == claims
    await second.send(approved, "heard")
    await stage.settle()
    assert await handle.result() == [1, "heard"]


@workflow
async def dated(run: WorkflowRun, left: int) -> list[Any]:
    await run.sleep("20m")
    if left:
        dated.continue_as_new(run, left - 1)
    return [run.generation]


@scenario(dated, shows=("onward.swap",))
async def a_deadline_is_of_the_run_and_not_of_a_generation(stage: Stage) -> None:
    handle = await stage.client.enqueue(dated.options(timeout="50m").bind(9))
    await stage.advance("50m")
    assert await state(handle) is State.FAILED
    assert (await handle.status()).generation == 2


@scenario(dated, shows=("onward.swap",))
async def a_crash_between_generations_loses_none(stage: Stage) -> None:
    handle = await stage.client.enqueue(dated.bind(2))
    for _ in range(4):
        await stage.advance("15m")
        await stage.crash_worker()
    assert await handle.result() == [2]


@workflow(name="moves", version="1")
async def moves(run: WorkflowRun, been: list[str]) -> list[str]:
    moves.options(version="2").continue_as_new(run, [*been, run.version])


@workflow(name="moves", version="2")
async def moves_on(run: WorkflowRun, been: list[str]) -> list[str]:
    return [*been, run.version]


@scenario(moves, moves_on, shows=("onward.version",))
async def a_generation_may_be_of_another_version(stage: Stage) -> None:
    handle = await stage.client.enqueue(moves.bind([]))
    await stage.settle()
    assert await handle.result() == ["1", "2"]
    assert (await handle.status()).version == "2"


@scenario(gathering, shows=("onward.swap",))
async def a_pause_holds_the_next_generation(stage: Stage) -> None:
    handle = await stage.client.enqueue(gathering.bind(2, []))
    await handle.send(approved, "a")
    await stage.settle()
    await handle.pause()
    await handle.send(approved, "b")
    await stage.settle()
    assert await state(handle) is State.PAUSED
    await handle.resume()
    await stage.settle()
    assert await handle.result() == ["a", "b"]
    assert await entries(stage.client, handle.run_id) == ["event:approved"] * 2
