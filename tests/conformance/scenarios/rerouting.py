"""Scenarios of runs that go to another version of their workflow."""

from __future__ import annotations

from aiki import AikiError, Event, State, WorkflowRun, task, workflow
from tests.conformance.answers import moves, refusal, state
from tests.conformance.stage import Stage, scenario

go = Event("go", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow(name="versioned", version="1")
async def first(run: WorkflowRun, number: int = 0) -> list[str]:
    got = await note.run(run, "one")
    await run.sleep("1h")
    return [got, await run.wait_for(go)]


@workflow(name="versioned", version="2")
async def second(run: WorkflowRun, number: int = 0) -> list[str]:
    got = await note.run(run, "one")
    await run.sleep("1h")
    return [got, await run.wait_for(go), await note.run(run, "two")]


@workflow(name="versioned", version="3")
async def picky(run: WorkflowRun, number: str) -> list[str]:
    return [number]


@workflow(name="versioned", version="4")
async def otherwise(run: WorkflowRun, number: int = 0) -> list[str]:
    return [await note.run(run, "another")]


@scenario(first, second)
async def a_paused_run_goes_on_by_the_other_version_where_it_was(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(first.bind(1))
    await stage.settle()
    await handle.pause()
    moved = await handle.move("2")
    assert (moved.state, moved.version) == (State.PAUSED, "2")
    await handle.resume()
    await stage.advance("1h")
    await handle.send(go, "now")
    await stage.settle()
    assert await handle.result() == ["one", "now", "two"]
    return await moves(stage.client, handle.run_id)


@scenario(first, second)
async def one_that_has_not_begun_keeps_its_date(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(first.options(delay="1h").bind(1))
    assert (await handle.move("2")).state is State.SCHEDULED
    assert (await handle.move("2")).version == "2"
    await stage.advance("1h")
    assert await state(handle) is State.SLEEPING
    return await moves(stage.client, handle.run_id)


@scenario(first, otherwise)
async def a_blocked_run_is_queued_again(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(first.bind(1))
    await stage.settle()
    await handle.pause()
    await handle.move("4")
    await handle.resume()
    await stage.settle()
    assert await state(handle) is State.BLOCKED
    assert (await handle.move("1", keep_blocked=True)).state is State.BLOCKED
    await handle.move("4")
    await stage.settle()
    assert await state(handle) is State.BLOCKED
    await handle.move("1")
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    return await moves(stage.client, handle.run_id)


@scenario(first, second, picky)
async def what_cannot_go_says_why(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(first.bind(1))
    await stage.settle()
    said = [await refusal(handle.move("2"))]
    await handle.pause()
    said += [await refusal(handle.move(version)) for version in ("3", "5")]
    await handle.cancel(force=True)
    said.append(await refusal(handle.move("2")))
    return [one.replace(handle.run_id, "RUN").partition(" (registered")[0] for one in said]


@scenario(first, second)
async def of_many_each_has_its_answer(stage: Stage) -> list[str]:
    waits = await stage.client.enqueue(first.options(delay="1h").bind(1))
    sleeps = await stage.client.enqueue(first.bind(2))
    await stage.settle()
    said = []
    for claims in (3, 0):
        both = [waits.run_id, sleeps.run_id]
        outcomes = await stage.client.runs.move_batch(both, "2", claims={waits.run_id: claims})
        said += [str(one) if isinstance(one, AikiError) else f"{one.state} {one.version}" for one in outcomes]
    return [one.replace(waits.run_id, "A").replace(sleeps.run_id, "B") for one in said]
