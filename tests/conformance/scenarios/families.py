"""Scenarios of families: children started, awaited, met by their keys, left and told to end."""

from __future__ import annotations

import asyncio

from aiki import ChildFailed, Event, State, WorkflowRun, task, workflow
from tests.conformance.answers import answer, entries, state
from tests.conformance.stage import Stage, scenario

go = Event("go", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow
async def square(run: WorkflowRun, number: int) -> int:
    return number * number


@workflow
async def breaks(run: WorkflowRun, text: str) -> None:
    raise ValueError(text)


@workflow
async def hears(run: WorkflowRun) -> str:
    try:
        return await run.wait_for(go)
    finally:
        await note.run(run, "undone")


@workflow
async def adds(run: WorkflowRun, count: int) -> int:
    return sum(await run.all([await square.start(run, number) for number in range(count)]))


@scenario(adds, square, shows=("families.start", "families.fold"))
async def a_parent_waits_for_all_its_children_in_one_entry(stage: Stage) -> None:
    handle = await stage.client.enqueue(adds.bind(5))
    await stage.settle()
    assert await handle.result() == 30
    assert await entries(stage.client, handle.run_id) == ["starts", "all"]
    assert (await handle.status()).children == 5


@workflow
async def runs_them(run: WorkflowRun) -> list[str]:
    said = [str(await square.run(run, 3))]
    try:
        await breaks.run(run, "no stock")
    except ChildFailed as error:
        said += [error.state, error.type, error.message]
    return said


@scenario(runs_them, square, breaks, shows=("families.start",))
async def a_child_that_fails_tells_its_parent_how(stage: Stage) -> None:
    handle = await stage.client.enqueue(runs_them.bind())
    await stage.settle()
    assert await handle.result() == ["9", "failed", "ValueError", "no stock"]


@workflow
async def talks(run: WorkflowRun) -> list[str]:
    one, two = await hears.start(run), await hears.start(run)
    await run.sleep("1m")
    await one.send(go, "hello")
    await two.cancel(reason="not needed")
    said = [await one.result()]
    try:
        await two.result()
    except ChildFailed as error:
        said += [error.state, error.type]
    return said


@scenario(talks, hears, shows=("families.start", "arrivals.one-way"))
async def a_parent_sends_to_its_children_and_cancels_them(stage: Stage) -> None:
    handle = await stage.client.enqueue(talks.bind())
    await stage.advance("1m")
    assert await handle.result() == ["hello", "cancelled", "RunCancelled"]


@workflow
async def prioritised(run: WorkflowRun) -> None:
    await square.start(run, 1)
    await square.options(priority=2, labels={"a": "b"}).start(run, 2)
    await square.options(delay="1h").run(run, 3)


@scenario(prioritised, square, shows=("families.priority",))
async def a_childs_priority_is_its_parents_unless_given(stage: Stage) -> None:
    handle = await stage.client.enqueue(prioritised.options(priority=5).bind())
    await stage.settle()
    children = (await stage.client.runs.list(parent=handle.run_id)).runs
    assert sorted(child.priority for child in children) == [2, 5, 5]
    await stage.advance("1h")
    assert await state(handle) is State.COMPLETED


@workflow
async def keyed(run: WorkflowRun, other: int) -> list[str]:
    theirs = square.options(idempotency_key="the one")
    same = [await theirs.start(run, 3), await theirs.start(run, 3)]
    said = [str(same[0].run_id == same[1].run_id), str(await same[1].result())]
    said.append(str(await answer(square.options(idempotency_key="the one").run(run, other))))
    return said


@scenario(keyed, square, shows=("families.attach",))
async def a_start_with_a_key_meets_the_run_that_has_it(stage: Stage) -> None:
    before = await stage.client.enqueue(square.options(idempotency_key="the one").bind(3))
    await stage.settle()
    handle = await stage.client.enqueue(keyed.bind(4))
    await stage.settle()
    one, two, three = await handle.result()
    assert (one, two) == ("True", "9")
    assert three.startswith("Conflict")
    assert (await before.status()).parent_id is None


@workflow
async def meets(run: WorkflowRun) -> str:
    return await hears.options(idempotency_key="the one").run(run)


@scenario(meets, hears, shows=("families.attach",))
async def a_run_that_was_met_is_not_cancelled_with_who_met_it_and_its_end_is_seen(stage: Stage) -> None:
    before = await stage.client.enqueue(hears.options(idempotency_key="the one").bind())
    await stage.settle()
    first, second = await stage.client.enqueue(meets.bind()), await stage.client.enqueue(meets.bind())
    await stage.settle()
    await first.cancel()
    await stage.settle()
    assert await state(first) is State.CANCELLED
    assert await state(before) is State.WAITING
    await before.send(go, "on")
    await stage.settle()
    assert await second.result() == "on"


@workflow
async def closes(run: WorkflowRun, how: str) -> str:
    await hears.options(parent_close=how).start(run)  # type: ignore[arg-type]
    await note.run(run, how)
    return "over"


@scenario(closes, hears, shows=("families.close",))
async def a_parent_that_ends_cancels_its_children_unless_their_start_says_otherwise(stage: Stage) -> list[State]:
    handles = [await stage.client.enqueue(closes.bind(how)) for how in ("cancel", "abandon", "wait")]
    await stage.settle()
    children = [(await stage.client.runs.list(parent=handle.run_id)).runs[0] for handle in handles]
    states = [child.state for child in children]
    assert states == [State.CANCELLED, State.WAITING, State.WAITING]
    assert [await state(handle) for handle in handles] == [State.COMPLETED, State.COMPLETED, State.WAITING]
    await hears.handle(stage.client, children[2].run_id).send(go, "end")
    await stage.settle()
    assert await state(handles[2]) is State.COMPLETED
    return states


@workflow
async def upper(run: WorkflowRun) -> list[str]:
    try:
        return list(await asyncio.gather(middle.run(run, "a"), middle.run(run, "b")))
    finally:
        await note.run(run, "upper")


@workflow
async def middle(run: WorkflowRun, name: str) -> str:
    try:
        return await hears.run(run)
    finally:
        await note.run(run, name)


@scenario(upper, middle, hears, shows=("cancel.children", "cancel.two-entries", "families.close"))
async def a_cancel_goes_down_a_family_and_each_cleans_up(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(upper.bind())
    await stage.settle()
    await handle.cancel(reason="enough")
    await stage.settle()
    runs = (await stage.client.runs.list()).runs
    assert {run.state for run in runs} == {State.CANCELLED}
    assert len(runs) == 5
    found = await entries(stage.client, handle.run_id)
    assert found == ["starts", "cancel", "end", "end", "interrupt", "task:note"]
    return found


@scenario(upper, middle, hears, shows=("families.pause",))
async def a_pause_does_not_run_down_a_family(stage: Stage) -> None:
    handle = await stage.client.enqueue(upper.bind())
    await stage.settle()
    await handle.pause()
    await stage.settle()
    leaves = [run for run in (await stage.client.runs.list()).runs if run.workflow == "hears"]
    for leaf in leaves:
        await hears.handle(stage.client, leaf.run_id).send(go, "on")
        await stage.settle()
    assert await state(handle) is State.PAUSED
    await handle.resume()
    await stage.settle()
    assert await handle.result() == ["on", "on"]


@workflow
async def forks(run: WorkflowRun) -> list[int]:
    first = await square.options(delay="10m").start(run, 2)
    await run.sleep("1m")
    return [await first.result(), await square.run(run, 3)]


@scenario(forks, square, shows=("families.start",))
async def a_crash_starts_no_child_twice(stage: Stage) -> None:
    handle = await stage.client.enqueue(forks.bind())
    await stage.settle()
    for by in ("30s", "2m", "10m"):
        await stage.crash_worker()
        await stage.advance(by)
    assert await handle.result() == [4, 9]
    assert (await handle.status()).children == 2
