"""The clock of a test: it stands while tasks run, and goes on from date to date."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aiki import (
    Conflict,
    Event,
    EventTimeout,
    Retry,
    RunFailed,
    RunTimedOut,
    State,
    UsageError,
    WaitTimeout,
    WorkflowRun,
    task,
    workflow,
)
from aiki.testing import StillWaiting, TestEnv
from aiki.testing.clock import Clock, ClockLoop
from tests.waiting import patient

pytestmark = pytest.mark.anyio
answered = Event("answered", type=int)


@task(timeout="20s", retry=Retry.fixed(2, "1m"))
async def calls() -> str:
    return "called"


@workflow
async def one_call(run: WorkflowRun) -> str:
    return await calls.run(run)


@workflow
async def waits_a_week(run: WorkflowRun) -> str:
    try:
        return str(await run.wait_for(answered, timeout="7d"))
    except EventTimeout:
        return f"gave up at {run.now():%d %B, %H:%M}"


@workflow(timeout="1h")
async def overdue(run: WorkflowRun) -> None:
    await run.sleep("2h")


@workflow
async def naps_long(run: WorkflowRun) -> list[str]:
    seen = []
    for _ in range(3):
        await run.sleep("1d")
        seen.append(f"{run.now():%d}")
    return seen


async def test_a_task_that_takes_longer_than_its_timeout_fails_and_is_tried_again() -> None:
    async with TestEnv() as env:
        mock = env.mock(calls).takes("30s")
        handle = await env.enqueue(one_call)
        await env.advance("5m")
        with pytest.raises(RunFailed, match="no result within 20 s"):
            await handle.result()
        assert len(mock.calls) == 2


async def test_a_task_that_takes_its_time_is_not_done_before() -> None:
    async with TestEnv() as env:
        env.mock(calls).takes("19s").returns("late")
        handle = await env.enqueue(one_call)
        await env.advance("18s")
        with pytest.raises(StillWaiting):
            await handle.result()
        await env.advance("1s")
        assert await handle.result() == "late"


async def test_a_wait_ends_at_its_timeout() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(waits_a_week)
        with pytest.raises(StillWaiting, match="waits for event 'answered', at the latest until 2026-01-08") as caught:
            await handle.result()
        assert caught.value.hint == 'await handle.send(answered, ...), or await env.advance("7d")'
        await env.advance("7d")
        assert await handle.result() == "gave up at 08 January, 00:00"


async def test_a_run_that_is_overdue_fails() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(overdue)
        await env.advance("1h")
        with pytest.raises(RunTimedOut):
            await handle.result()


async def test_all_that_is_due_on_the_way_happens_at_its_own_date() -> None:
    async with TestEnv() as env:
        began = env.now()
        handle = await env.enqueue(naps_long)
        await env.advance(timedelta(days=30))
        assert await handle.result() == ["02", "03", "04"]
        assert env.now() == began + timedelta(days=30)


async def test_a_wait_with_a_timeout_is_over_as_in_production() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(overdue)
        with pytest.raises(WaitTimeout, match="has not ended within 60 s"):
            await handle.result(timeout="1m")


# -- what runs in real time

hold = threading.Event()


@task
async def hangs_in_a_coroutine() -> None:
    await asyncio.Event().wait()  # here


@task
def hangs_in_a_thread() -> None:
    hold.wait()  # there


@workflow
async def calls_a_coroutine(run: WorkflowRun) -> None:
    await hangs_in_a_coroutine.run(run)


@workflow
async def calls_a_thread(run: WorkflowRun) -> None:
    await hangs_in_a_thread.run(run)


def line_of(word: str) -> str:
    lines = Path(__file__).read_text().splitlines()
    return f"test_time.py:{next(number for number, line in enumerate(lines, 1) if line.endswith(word))}"


@pytest.mark.parametrize(
    ("of", "name", "word"),
    [(calls_a_coroutine, "hangs_in_a_coroutine", "# here"), (calls_a_thread, "hangs_in_a_thread", "# there")],
)
async def test_a_task_that_hangs_ends_the_advance_with_its_name_and_line(of, name, word) -> None:
    hold.clear()
    try:
        async with TestEnv(patience="100ms") as env:
            handle = await env.enqueue(of)
            began = env.now()
            with pytest.raises(
                StillWaiting, match=rf"task '{name}' of run {handle.run_id} .*test_time.py:\d+ in {name}"
            ):
                await env.advance("1h")
            assert env.now() == began
            with pytest.raises(StillWaiting, match=name):
                await handle.result()
    finally:
        hold.set()


@task
def works(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@task(executor="process", timeout="10ms")
def computes(seconds: float) -> str:
    time.sleep(seconds)
    return "computed"


@workflow
async def two_works(run: WorkflowRun) -> list[str]:
    return list(await asyncio.gather(works.run(run, 0.05), computes.run(run, 0.05)))


async def test_the_clock_stands_while_plain_functions_run_and_process_tasks_run_in_threads() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(two_works)
        await env.advance("1h")
        assert await handle.result() == ["done", "computed"]


async def test_patience_is_a_time() -> None:
    with pytest.raises(UsageError, match="longer than nothing"):
        TestEnv(patience="0s")


async def test_the_clock_begins_where_the_test_wants_it() -> None:
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    async with TestEnv(start=start) as env:
        await env.advance("1d")
        assert env.now() == start + timedelta(days=1)
    with pytest.raises(UsageError, match="start= needs a datetime with a time zone"):
        TestEnv(start=datetime(2026, 10, 24))  # noqa: DTZ001 - refused for that


async def test_a_function_of_a_mock_that_hangs_is_named_with_its_line() -> None:
    async def hangs() -> str:
        await asyncio.Event().wait()  # in a mock
        return ""

    async with TestEnv(patience="100ms") as env:
        env.mock(calls).runs(hangs)
        handle = await env.enqueue(one_call)
        with pytest.raises(StillWaiting, match=f"task 'calls' .*{line_of('# in a mock')} in hangs"):
            await handle.result()


async def test_a_thread_that_was_given_up_is_nobodys_hang() -> None:
    hold.clear()
    try:
        async with TestEnv(patience=timedelta(seconds=patient(0.3))) as env:
            given_up = await env.enqueue(calls_a_thread)
            await given_up.cancel(force=True)
            await env.advance("1m")
            await asyncio.to_thread(time.sleep, patient(0.35))  # longer than the patience with a task
            handle = await env.enqueue(two_works)
            assert await handle.result() == ["done", "computed"]
    finally:
        hold.set()


async def test_a_timer_that_another_one_of_the_same_moment_has_cancelled_does_not_go_off() -> None:
    clock = Clock(0)
    loop = ClockLoop(clock, asyncio.get_running_loop())  # type: ignore[abstract]
    gone_off: list[str] = []
    later: list[asyncio.TimerHandle] = []
    loop.call_later(1, lambda: later[0].cancel())
    later.append(loop.call_later(1, gone_off.append, "cancelled"))
    loop.call_later(1, gone_off.append, "kept")
    clock.now = 1_000_000
    loop.ring()
    await asyncio.sleep(0)
    assert (gone_off, loop.broken) == (["kept"], None)


async def test_a_wake_ends_no_wait_for_an_event() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(waits_a_week)
        with pytest.raises(Conflict, match="nothing in it sleeps"):
            await handle.wake()


def test_a_plain_function_that_hangs_behind_a_mock_keeps_no_loop_from_ending() -> None:
    hold.clear()

    async def play() -> None:
        async with TestEnv(patience="100ms") as env:
            env.mock(hangs_in_a_thread)  # only to see its calls
            handle = await env.enqueue(calls_a_thread)
            with pytest.raises(StillWaiting, match=rf"{line_of('# there')} in hangs_in_a_thread"):
                await handle.result()

    try:
        asyncio.run(play())
    finally:
        hold.set()


async def test_no_time_at_all_is_enough_for_tasks_to_end() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(two_works)
        began = env.now()
        await env.advance("0s")
        assert (await handle.status()).state is State.COMPLETED
        assert env.now() == began
