"""Scenarios of cancels and deadlines: two entries, compensation, graces, and who was too late."""

from __future__ import annotations

import asyncio

from aiki import Event, RunCancelled, RunTimedOut, State, TaskOutcomeUnknown, WorkflowRun, task, workflow
from tests.conformance.answers import entries, moves, refusal, state
from tests.conformance.stage import Stage, scenario
from tests.waiting import wait_until

go = Event("go", type=str)
begun: list[str] = []


@task
async def note(what: str) -> str:
    return what


@task
async def hang(name: str) -> str:
    begun.append(name)
    await asyncio.Event().wait()
    return name


@task(at_most_once=True)
async def pay(name: str) -> str:
    begun.append(name)
    await asyncio.Event().wait()
    return name


@workflow
async def orders(run: WorkflowRun) -> str:
    await note.run(run, "charge")
    try:
        return await run.wait_for(go)
    finally:
        await note.run(run, "refund")
        await run.sleep("1m")
        await note.run(run, "tell")


@scenario(orders, shows=("cancel.two-entries", "cancel.compensation", "cancel.answer"))
async def a_cancelled_body_takes_back_what_it_has_done(stage: Stage) -> str:
    handle = await stage.client.enqueue(orders.bind())
    await stage.settle()
    asked = await handle.cancel(reason="wrong address")
    assert asked.state not in (State.CANCELLED, State.COMPLETED)
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    await stage.advance("1m")
    assert await state(handle) is State.CANCELLED
    assert await entries(stage.client, handle.run_id) == [
        *("task:note", "cancel", "interrupt", "task:note", "timer", "task:note")
    ]
    said = await refusal(handle.result())
    assert said.startswith(RunCancelled.__name__)
    return said


@scenario(orders, shows=("cancel.at-once",))
async def a_run_that_nobody_has_claimed_is_cancelled_at_once(stage: Stage) -> list[str]:
    await stage.stop_worker()
    queued = await stage.client.enqueue(orders.bind())
    later = await stage.client.enqueue(orders.options(delay="1h").bind())
    assert (await queued.cancel()).state is State.CANCELLED
    assert (await later.cancel()).state is State.CANCELLED
    return [*await moves(stage.client, queued.run_id), *await moves(stage.client, later.run_id)]


@scenario(orders, shows=("cancel.second",))
async def a_second_cancel_does_not_interrupt_compensation(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.bind())
    await stage.settle()
    await handle.cancel(reason="first")
    await stage.settle()
    await handle.cancel(reason="second")
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    await stage.advance("1m")
    assert await state(handle) is State.CANCELLED


@scenario(orders, shows=("cancel.force",))
async def by_force_a_run_ends_at_once_and_nothing_is_taken_back(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.bind())
    await stage.settle()
    assert (await handle.cancel(force=True)).state is State.CANCELLED
    await stage.settle()
    assert await entries(stage.client, handle.run_id) == ["task:note"]


@scenario(orders, shows=("cancel.timeout",))
async def a_cancel_timeout_ends_what_does_not_end_by_itself(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.options(cancel_timeout="30s").bind())
    await stage.settle()
    await handle.cancel()
    await stage.advance("29s")
    assert await state(handle) is State.SLEEPING
    await stage.advance("1s")
    assert await state(handle) is State.CANCELLED


@scenario(orders, shows=("cancel.answer",))
async def a_cancel_of_a_run_that_has_ended_is_too_late(stage: Stage) -> str:
    handle = await stage.client.enqueue(orders.bind())
    await handle.send(go, "on")
    await stage.advance("1m")
    said = await refusal(handle.cancel())
    assert said.startswith("Conflict")
    assert await handle.result() == "on"
    return said


@workflow
async def stubborn(run: WorkflowRun) -> str:
    try:
        await run.sleep("1h")
    except asyncio.CancelledError:
        return "all the same"
    return "slept"


@scenario(stubborn, shows=("cancel.ends-so",))
async def a_run_that_was_interrupted_ends_cancelled_though_its_body_returns(stage: Stage) -> None:
    handle = await stage.client.enqueue(stubborn.bind())
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED


@workflow
async def shields(run: WorkflowRun) -> list[str]:
    inner = asyncio.ensure_future(run.wait_for(go))
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        await note.run(run, await inner)
    return []


@scenario(shields, shows=("cancel.shield",))
async def a_shield_shields(stage: Stage) -> None:
    handle = await stage.client.enqueue(shields.bind())
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.WAITING
    await handle.send(go, "shielded")
    await stage.settle()
    assert await state(handle) is State.CANCELLED
    assert await entries(stage.client, handle.run_id) == ["cancel", "interrupt", "event:go", "task:note"]


@workflow
async def hangs(run: WorkflowRun, name: str) -> None:
    try:
        await hang.run(run, name)
    finally:
        await note.run(run, "after")


@scenario(hangs, shows=("cancel.tries", "cancel.two-entries"))
async def a_cancel_cuts_off_the_try_that_runs_and_then_interrupts(stage: Stage) -> None:
    begun.clear()
    handle = await stage.client.enqueue(hangs.bind("one"))
    await wait_until(lambda: begun == ["one"])
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED
    assert await entries(stage.client, handle.run_id) == ["cancel", "task:hang", "interrupt", "task:note"]


@workflow
async def once(run: WorkflowRun) -> str:
    try:
        await pay.run(run, "once")
    except TaskOutcomeUnknown:
        await note.run(run, "unknown")
        return "unknown"
    return "done"


@scenario(once, shows=("cancel.once",))
async def what_may_begin_but_once_and_was_cut_off_has_an_unknown_outcome(stage: Stage) -> None:
    begun.clear()
    handle = await stage.client.enqueue(once.bind())
    await wait_until(lambda: begun == ["once"])
    await stage.crash_worker()
    await stage.settle()
    assert await handle.result() == "unknown"
    assert begun == ["once"]


@scenario(orders, shows=("deadline.two-entries",))
async def a_deadline_interrupts_with_its_own_reason(stage: Stage) -> str:
    handle = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await stage.advance("1h")
    assert await state(handle) is State.SLEEPING
    await stage.advance("1m")
    assert await state(handle) is State.FAILED
    said = await refusal(handle.result())
    assert said.startswith(RunTimedOut.__name__)
    return said


@scenario(orders, shows=("deadline.never-claimed",))
async def a_run_that_nobody_claims_is_ended_at_its_deadline(stage: Stage) -> None:
    await stage.stop_worker()
    handle = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await stage.advance("59m")
    assert await state(handle) is State.QUEUED
    await stage.advance("1m")
    assert await state(handle) is State.FAILED


@scenario(orders, shows=("deadline.no-worker",))
async def a_run_whose_worker_has_gone_is_ended_hard_behind_its_deadline(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(orders.options(timeout="1h", cancel_timeout="2m").bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("61m")
    assert await state(handle) is State.QUEUED
    await stage.advance("1m")
    assert await state(handle) is State.FAILED
    story = await moves(stage.client, handle.run_id)
    assert story[-1] == "time_out"
    return story


@scenario(orders, shows=("deadline.default-grace",))
async def without_a_cancel_timeout_a_deadline_leaves_five_minutes(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("64m59s")
    assert await state(handle) is State.QUEUED
    await stage.advance("1s")
    assert await state(handle) is State.FAILED


@scenario(orders, shows=("deadline.paused",))
async def a_paused_run_stays_paused_over_its_deadline_and_hears_of_it_when_it_is_resumed(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await stage.settle()
    await handle.pause()
    await stage.advance("3h")
    assert await state(handle) is State.PAUSED
    await handle.resume()
    await stage.advance("1m")
    assert await state(handle) is State.FAILED
    assert "interrupt" in await entries(stage.client, handle.run_id)


@workflow
async def naps(run: WorkflowRun) -> str:
    await run.sleep("1h")
    return await note.run(run, "awake")


@scenario(naps)
async def a_run_is_woken_before_its_deadline_at_the_same_moment_tells_it_to_end(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(naps.options(timeout="1h").bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("1h")
    story = [entry async for entry in stage.client.runs.history(handle.run_id)]
    assert [(entry.move, entry.reason) for entry in story[-2:-1]] == [("due", None)]
    assert story[-1].reason is not None
    return [str(entry.move) for entry in story]


@scenario(orders, shows=("deadline.paused",))
async def a_deadline_that_passed_in_a_pause_counts_once_the_run_is_resumed(stage: Stage) -> list[str]:
    await stage.stop_worker()
    unbegun = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await unbegun.pause()
    await stage.start_worker()
    begun = await stage.client.enqueue(orders.options(timeout="1h").bind())
    await stage.settle()
    await begun.pause()
    await stage.stop_worker()
    await stage.advance("3h")
    await unbegun.resume()
    await begun.resume()
    await stage.settle()
    assert [await state(one) for one in (unbegun, begun)] == [State.FAILED, State.QUEUED]
    await stage.start_worker()
    await stage.settle()
    assert (await entries(stage.client, begun.run_id))[:3] == ["task:note", "cancel", "interrupt"]
    return await moves(stage.client, unbegun.run_id)


@scenario(orders, shows=("cancel.second",))
async def a_deadline_behind_a_cancel_is_history_only(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.options(timeout="10s").bind())
    await stage.settle()
    await handle.cancel()
    await stage.advance("30s")
    assert await state(handle) is State.SLEEPING
    await stage.advance("1m")
    assert await state(handle) is State.CANCELLED


@scenario(orders, shows=("cancel.repeats-no-task",))
async def a_crash_in_compensation_goes_on_with_it(stage: Stage) -> None:
    handle = await stage.client.enqueue(orders.bind())
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    await stage.crash_worker()
    await stage.advance("1m")
    assert await state(handle) is State.CANCELLED
    assert (await entries(stage.client, handle.run_id)).count("task:note") == 3
