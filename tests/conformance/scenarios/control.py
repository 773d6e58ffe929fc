"""Scenarios of what a person wants of a run: pause, resume, wake, and refusals of these."""

from __future__ import annotations

import asyncio

from aiki import Event, State, WorkflowRun, task, workflow
from tests.conformance.answers import answer, entries, moves, refusal, state
from tests.conformance.stage import Stage, scenario
from tests.waiting import wait_until

go = Event("go", type=str)
begun: list[str] = []
gates: list[asyncio.Event] = []
"""One, of the loop that plays."""


def gated_anew() -> asyncio.Event:
    begun.clear()
    gates[:] = [asyncio.Event()]
    return gates[0]


@task
async def note(what: str) -> str:
    return what


@task
async def gated(what: str) -> str:
    begun.append(what)
    await gates[0].wait()
    return what


@workflow
async def steps(run: WorkflowRun) -> list[str]:
    got = [await note.run(run, "one")]
    await run.sleep("1h")
    return [*got, await run.wait_for(go), await note.run(run, "two")]


@scenario(steps, shows=("pause.rests",))
async def a_sleeping_run_is_paused_at_once_and_its_time_passes_meanwhile(stage: Stage) -> None:
    handle = await stage.client.enqueue(steps.bind())
    await stage.settle()
    assert (await handle.pause()).state is State.PAUSED
    await stage.advance("2h")
    assert await state(handle) is State.PAUSED
    await handle.resume()
    await stage.settle()
    assert await state(handle) is State.WAITING


@scenario(steps, shows=("pause.rests", "arrivals.order"))
async def what_comes_to_a_paused_run_is_taken_when_it_is_resumed(stage: Stage) -> None:
    handle = await stage.client.enqueue(steps.bind())
    await stage.advance("1h")
    await handle.pause()
    await handle.send(go, "a")
    await handle.send(go, "b")
    await stage.settle()
    assert (await handle.status()).unread == 2
    await handle.resume()
    await stage.settle()
    assert await handle.result() == ["one", "a", "two"]


@scenario(steps)
async def a_run_that_was_resumed_too_early_sleeps_on(stage: Stage) -> None:
    handle = await stage.client.enqueue(steps.bind())
    await stage.settle()
    await handle.pause()
    await stage.advance("10m")
    await handle.resume()
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    await stage.advance("50m")
    assert await state(handle) is State.WAITING


@scenario(steps)
async def one_that_was_not_due_goes_back_to_its_date(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(steps.options(delay="1h").bind())
    await handle.pause()
    await stage.advance("10m")
    await handle.resume()
    assert await state(handle) is State.SCHEDULED
    await stage.advance("50m")
    assert await state(handle) is State.SLEEPING
    return await moves(stage.client, handle.run_id)


@workflow
async def two_gated(run: WorkflowRun) -> list[str]:
    return [await gated.run(run, "a"), await gated.run(run, "b")]


@scenario(two_gated, shows=("pause.rests",))
async def a_pause_lets_a_running_task_end_and_starts_no_other(stage: Stage) -> None:
    gate = gated_anew()
    handle = await stage.client.enqueue(two_gated.bind())
    await wait_until(lambda: begun == ["a"])
    assert (await handle.pause()).state is State.RUNNING
    gate.set()
    await stage.settle()
    assert await state(handle) is State.PAUSED
    assert (await handle.status()).tasks == 1
    await handle.resume()
    await stage.settle()
    assert await handle.result() == ["a", "b"]
    assert begun == ["a", "b"]


@scenario(two_gated, shows=("pause.rests",))
async def a_pause_outlives_the_claim_that_it_came_in(stage: Stage) -> None:
    gate = gated_anew()
    handle = await stage.client.enqueue(two_gated.bind())
    await wait_until(lambda: begun == ["a"])
    await handle.pause()
    await stage.crash_worker()
    await stage.settle()
    assert await state(handle) is State.PAUSED
    gate.set()
    await handle.resume()
    await stage.settle()
    assert begun == ["a", "a", "b"]


@scenario(steps)
async def what_cannot_be_done_is_refused(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(steps.bind())
    await stage.settle()
    said = [await answer(handle.resume())]
    await handle.cancel()
    await stage.settle()
    said += [await refusal(order()) for order in (handle.pause, handle.resume, handle.wake)]
    return [str(word) for word in said]


@scenario(steps, shows=("cancel.at-once",))
async def a_paused_run_that_has_begun_hears_of_its_cancel(stage: Stage) -> None:
    handle = await stage.client.enqueue(steps.bind())
    await stage.settle()
    await handle.pause()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED
    assert await entries(stage.client, handle.run_id) == ["task:note", "cancel", "interrupt"]
