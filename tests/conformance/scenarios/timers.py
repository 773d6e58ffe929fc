"""Scenarios of time: sleeps, timeouts, and what is due first."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from aiki import Event, EventTimeout, State, WorkflowRun, task, workflow
from tests.conformance.answers import entries, refusal, state
from tests.conformance.stage import Stage, scenario

ping = Event("ping", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow
async def sleeps(run: WorkflowRun) -> list[str]:
    began = run.now()
    await run.sleep("10m")
    await note.run(run, "between")
    await run.sleep_until(began + timedelta(days=1))
    return [str(run.now() - began)]


@scenario(sleeps, shows=("timers.asked",))
async def a_sleep_ends_at_its_date_and_no_earlier(stage: Stage) -> None:
    handle = await stage.client.enqueue(sleeps.bind())
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    await stage.advance("9m59s")
    assert (await handle.status()).tasks == 0
    await stage.advance("1s")
    assert (await handle.status()).tasks == 1
    await stage.advance("1d")
    assert await handle.result() == ["1 day, 0:00:00"]


@workflow
async def ticks(run: WorkflowRun, count: int) -> list[int]:
    seen = []
    for _ in range(count):
        await run.sleep("1m")
        seen.append(round(run.now().timestamp()) % 3600)
    return seen


@scenario(ticks, shows=("timers.asked",))
async def each_of_many_timers_fires_at_its_own_time_however_far_one_advances(stage: Stage) -> None:
    handle = await stage.client.enqueue(ticks.bind(5))
    await stage.advance("1h")
    first, *others = await handle.result()
    assert [at - first for at in others] == [60, 120, 180, 240]


@workflow
async def races(run: WorkflowRun) -> list[str]:
    done: list[str] = []

    async def after(name: str, delay: str) -> None:
        await run.sleep(delay)
        done.append(name)

    await asyncio.gather(after("c", "3s"), after("a", "1s"), after("b", "2s"), after("a too", "1s"))
    return done


@scenario(races)
async def timers_are_delivered_in_the_order_of_their_dates(stage: Stage) -> None:
    handle = await stage.client.enqueue(races.bind())
    await stage.advance("3s")
    assert await handle.result() == ["a", "a too", "b", "c"]


@workflow
async def impatient(run: WorkflowRun) -> str:
    try:
        async with asyncio.timeout(30):
            await run.wait_for(ping)
    except TimeoutError:
        return "late"
    return "in time"


@scenario(impatient)
async def a_timeout_of_asyncio_is_a_durable_timer(stage: Stage) -> None:
    late = await stage.client.enqueue(impatient.bind())
    early = await stage.client.enqueue(impatient.bind())
    await stage.advance("29s")
    await early.send(ping, "x")
    await stage.advance("1s")
    assert [await late.result(), await early.result()] == ["late", "in time"]
    assert await entries(stage.client, late.run_id) == ["timer"]


@workflow
async def patient(run: WorkflowRun) -> str:
    try:
        return await run.wait_for(ping, timeout="1h")
    except EventTimeout as error:
        return str(error)


@scenario(patient, shows=("timers.asked", "timers.early"))
async def what_came_before_a_deadline_is_not_overtaken_by_it(stage: Stage) -> None:
    """Nobody serves while the event comes and the deadline passes."""
    handle = await stage.client.enqueue(patient.bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("59m")
    await handle.send(ping, "just in time")
    await stage.advance("2h")
    await stage.start_worker()
    await stage.settle()
    assert await handle.result() == "just in time"


@scenario(patient, shows=("timers.early",))
async def an_event_that_comes_after_the_deadline_is_late_also_where_nobody_served_at_the_time(stage: Stage) -> None:
    handle = await stage.client.enqueue(patient.bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("61m")
    await handle.send(ping, "late")
    await stage.start_worker()
    await stage.settle()
    assert "ping" in await handle.result()
    assert (await handle.status()).unread == 1


@scenario(patient)
async def an_event_at_the_very_moment_of_the_deadline_comes_first(stage: Stage) -> None:
    handle = await stage.client.enqueue(patient.bind())
    await stage.settle()
    await stage.stop_worker()
    await stage.advance("1h")
    await handle.send(ping, "at the very moment")
    await stage.start_worker()
    await stage.settle()
    assert (await handle.status()).state is State.COMPLETED


@scenario(sleeps, shows=("pause.wake",))
async def a_wake_ends_a_sleep_early(stage: Stage) -> None:
    handle = await stage.client.enqueue(sleeps.bind())
    await stage.advance("1m")
    await handle.wake()
    await stage.settle()
    assert (await handle.status()).tasks == 1
    await handle.wake()
    await stage.settle()
    (slept,) = await handle.result()
    assert slept.startswith("0:01:00")


@scenario(patient, shows=("pause.wake",))
async def a_wake_ends_no_timeout(stage: Stage) -> str:
    handle = await stage.client.enqueue(patient.bind())
    await stage.settle()
    said = await refusal(handle.wake())
    assert said.startswith("Conflict")
    assert await state(handle) is State.WAITING
    return said


@scenario(sleeps)
async def a_crash_between_two_sleeps_repeats_no_task_and_no_sleep(stage: Stage) -> None:
    handle = await stage.client.enqueue(sleeps.bind())
    for _ in range(3):
        await stage.advance("6m")
        await stage.crash_worker()
    await stage.advance("1d")
    assert await handle.result() == ["1 day, 0:00:00"]
    assert await entries(stage.client, handle.run_id) == ["timer", "task:note", "until"]


@scenario(sleeps)
async def a_run_may_begin_later(stage: Stage) -> None:
    handle = await stage.client.enqueue(sleeps.options(delay="1h").bind())
    await stage.settle()
    assert await state(handle) is State.SCHEDULED
    await stage.advance("1h")
    assert await state(handle) is State.SLEEPING


@scenario(sleeps, shows=("pause.wake",))
async def a_wake_ends_the_wait_for_the_first_start(stage: Stage) -> None:
    handle = await stage.client.enqueue(sleeps.options(delay="1h").bind())
    await stage.settle()
    await handle.wake()
    await stage.settle()
    assert await state(handle) is State.SLEEPING
