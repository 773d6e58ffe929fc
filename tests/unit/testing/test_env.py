"""TestEnv: bodies and tasks as in production, on an engine in memory, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from aiki import (
    ChildFailed,
    Client,
    Event,
    Retry,
    RunBlocked,
    RunCancelled,
    State,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
from aiki.testing import StillWaiting, TestEnv
from aiki.wire.messages import Watch

pytestmark = pytest.mark.anyio
approved = Event("approved", type=str)


@task
async def double(number: int) -> int:
    return 2 * number


@task
def ship(order: str, *, express: bool = False) -> bool:
    return bool(order)


@workflow
async def naps(run: WorkflowRun, number: int) -> int:
    doubled = await double.run(run, number)
    await run.sleep("10m")
    return doubled + 1


@workflow
async def approval(run: WorkflowRun, order: str) -> str:
    who = await run.wait_for(approved, timeout="14d")
    return f"{who}: {await ship.run(run, order, express=True)}"


async def test_a_run_with_a_task_and_a_sleep_ends_when_the_clock_has_gone_on() -> None:
    async with TestEnv() as env:
        began = env.now()
        handle = await env.enqueue(naps, 4)
        await env.advance("10m")
        assert await handle.result() == 9
        assert env.now() == began + timedelta(minutes=10)


async def test_whoever_waits_for_a_run_that_sleeps_hears_at_once_until_when() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(naps, 4)
        with pytest.raises(StillWaiting, match="sleeps until 2026-01-01 00:10:00") as caught:
            await handle.result()
        assert caught.value.hint == 'await env.advance("10m")'


async def test_an_event_and_a_plain_function_in_a_thread_end_a_run() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(approval, "o-1")
        await handle.send(approved, "bob")
        assert await handle.result() == "bob: True"


@task(retry=Retry.fixed(3, "1m"))
async def charge(cents: int) -> str:
    raise AssertionError("the real gateway")


@workflow
async def pays(run: WorkflowRun, cents: int) -> str:
    return await charge.run(run, cents)


@workflow
async def parent(run: WorkflowRun) -> list[int]:
    return await run.all([await naps.start(run, number) for number in range(3)])


async def test_a_mock_answers_as_it_was_told_one_call_after_the_other() -> None:
    async with TestEnv() as env:
        mock = env.mock(charge).fails(TimeoutError(), times=2).returns("c-1", "c-2")
        first, second, third = [await env.enqueue(pays, cents) for cents in (1, 2, 3)]
        await env.advance("2m")
        assert sorted([await first.result(), await second.result(), await third.result()]) == ["c-1", "c-2", "c-2"]
        assert mock.calls[0] == {"cents": 1}


async def test_children_run_too_without_being_named() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(parent)
        words = "3 of 3 children still run; the oldest is .* of naps .sleeping., which sleeps until 2026-01-01 00:10"
        with pytest.raises(StillWaiting, match=words) as caught:
            await handle.result()
        assert caught.value.hint == 'await env.advance("10m")'
        await env.advance("10m")
        assert await handle.result() == [1, 3, 5]


async def test_a_worker_that_crashes_loses_nothing_that_was_recorded() -> None:
    async with TestEnv() as env:
        mock = env.mock(double).returns(8)
        handle = await env.enqueue(naps, 4)
        await env.advance("5m")
        await env.crash_worker()
        await env.advance("5m")
        assert await handle.result() == 9
        assert len(mock.calls) == 1


@pytest.mark.parametrize("always_replay", [False, True])
async def test_a_run_may_replay_after_each_outcome(always_replay: bool) -> None:
    async with TestEnv(always_replay=always_replay) as env:
        handle = await env.enqueue(several, 5)
        await env.advance("5m")
        assert await handle.result() == 20
        assert (await handle.status()).claims > 5 if always_replay else (await handle.status()).claims == 1


@workflow
async def several(run: WorkflowRun, count: int) -> int:
    total = 0
    for number in range(count):
        total += await double.run(run, number)
        await run.sleep("1m")
    return total


async def test_events_that_come_together_are_there_before_the_run_moves() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(approval, "o-1")
        await asyncio.gather(handle.send(approved, "bob"), handle.send(approved, "alice"))
        assert await handle.result() == "bob: True"
        assert (await handle.status()).unread == 1


async def test_changes_of_a_run_are_watched_while_the_clock_goes_on() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(naps, 4)

        async def watch() -> list[str]:
            return [str(change.state) async for change in handle.watch()]

        watching = asyncio.create_task(watch())
        await env.advance("10m")
        assert await watching == ["sleeping", "queued", "running", "completed"]


async def test_whoever_watches_a_run_that_rests_hears_of_it_when_his_patience_is_over() -> None:
    async with TestEnv(patience="1ms") as env:
        handle = await env.enqueue(naps, 4)
        request = Watch([handle.run_id], "inbox", 60.0, ends_only=False)
        first = await env.client._wire.call(request)
        assert [run.state for run in first.runs] == [State.SLEEPING]
        await asyncio.to_thread(time.sleep, 0.002)
        with pytest.raises(StillWaiting, match="sleeps until"):
            await env.client._wire.call(request)


async def test_a_body_that_goes_round_is_told_of() -> None:
    async with TestEnv(patience="1ms") as env:
        with pytest.raises(StillWaiting, match="goes round without a rest"):
            await env.enqueue(spins)


@workflow
async def spins(run: WorkflowRun) -> None:
    while True:  # noqa: ASYNC110 - a mistake of a user
        await asyncio.sleep(0)


async def test_a_person_pauses_resumes_cancels_and_retries() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(naps, 4)
        assert (await handle.pause()).state is State.PAUSED
        await env.advance("1h")
        assert (await handle.status()).state is State.PAUSED
        with pytest.raises(RunBlocked):
            await handle.result()
        await handle.resume()
        assert await handle.result() == 9
        lost = await env.enqueue(naps, 4)
        await lost.cancel(reason="not needed")
        with pytest.raises(RunCancelled, match="not needed"):
            await lost.result()
        again = await lost.retry()
        await env.advance("10m")
        assert await again.result() == 9


async def test_who_waits_in_the_background_waits_for_what_the_test_does_next() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(approval, "o-1")
        result = asyncio.create_task(handle.result())
        other = await env.enqueue(naps, 4)
        await env.advance("10m")
        assert await other.result() == 9
        await handle.send(approved, "bob")
        with pytest.raises(StillWaiting):  # nothing was done for it in the line before, so it was told
            await result


async def test_a_group_may_wait_send_and_let_the_clock_go_on_at_once() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(waits_and_naps)
        async with asyncio.TaskGroup() as group:
            result = group.create_task(handle.result())
            group.create_task(handle.send(approved, "bob"))
            group.create_task(env.advance("10m"))
        assert result.result() == "bob"


@workflow
async def waits_and_naps(run: WorkflowRun) -> str:
    who = await run.wait_for(approved)
    await run.sleep("10m")
    return who


async def test_several_parts_of_a_test_may_wait_while_one_lets_the_clock_go_on() -> None:
    async with TestEnv() as env:
        handles = [await env.enqueue(naps, number) for number in range(3)]
        results = asyncio.gather(*(handle.result() for handle in handles))
        await env.advance("10m")
        assert await results == [1, 3, 5]


@workflow
async def family(run: WorkflowRun) -> list[str]:
    outcomes = []
    for number in range(3):
        try:
            outcomes.append(str(await naps.run(run, number)))
        except ChildFailed as error:
            outcomes.append(error.type)
    return outcomes


@pytest.mark.parametrize("always_replay", [False, True])
async def test_a_child_workflow_may_be_mocked(always_replay: bool) -> None:
    async with TestEnv(always_replay=always_replay) as env:
        mock = env.mock(naps).takes("1m").returns(70).fails(ValueError("no"), times=1)
        handle = await env.enqueue(family)
        await env.advance("2m")
        with pytest.raises(StillWaiting):
            await handle.result()
        await env.advance("11m")
        assert await handle.result() == ["70", "ValueError", "5"]
        assert mock.calls == [{"number": 0}, {"number": 1}, {"number": 2}]


@task
def reads_shared() -> list[str]:
    return task_run().shared(list)


@workflow
async def shares(run: WorkflowRun) -> list[str]:
    return await reads_shared.run(run)


async def test_tasks_share_what_the_test_gives_them() -> None:
    async with TestEnv(shared=["a pool"]) as env:
        assert await (await env.enqueue(shares)).result() == ["a pool"]


clients: list[Client] = []


@task
async def tells(run_id: str) -> None:
    await clients[-1].handle(run_id).send(approved, "a task")


@workflow
async def teller(run: WorkflowRun, run_id: str) -> None:
    await tells.run(run, run_id)


async def test_a_task_may_use_the_client() -> None:
    async with TestEnv() as env:
        clients.append(env.client)
        handle = await env.enqueue(approval, "o-1")
        await env.enqueue(teller, handle.run_id)
        assert await handle.result() == "a task: True"


async def test_a_child_whose_workflow_is_nowhere_to_be_found_is_named() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(parent_of_nobody)
        words = "waits for child .* of nobody .queued., which is queued, and no workflow 'nobody' version '1'"
        with pytest.raises(StillWaiting, match=words) as caught:
            await handle.result()
        assert caught.value.hint == "TestEnv(workflows=[nobody, ...])"


@workflow
async def parent_of_nobody(run: WorkflowRun) -> None:
    await make_nobody().run(run)


def make_nobody():
    @workflow
    async def nobody(run: WorkflowRun) -> None: ...

    return nobody


@workflow
async def plays_dice(run: WorkflowRun) -> str:
    return f"{run.random()} {run.uuid()}"


async def test_what_is_left_to_chance_is_the_same_each_time_a_test_runs() -> None:
    async def play() -> list[str]:
        async with TestEnv() as env:
            handles = [await env.enqueue(plays_dice) for _ in range(2)]
            return [handle.run_id for handle in handles] + [await handle.result() for handle in handles]

    first = await play()
    assert first == await play()
    assert len(set(first)) == 4
