"""Workers of this process on the session's daemon: routes, slots, versions, retries, the story of a run."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from aiki import (
    Client,
    Fatal,
    Handle,
    Retry,
    RunBlocked,
    RunFailed,
    State,
    TaskFailed,
    UsageError,
    Worker,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio


@task
async def double(n: int) -> int:
    return 2 * n


@task(retry=Retry.fixed(max_attempts=3, delay="10ms"))
async def third_time(n: int) -> int:
    if task_run().attempt < 3:
        raise OSError(f"attempt {task_run().attempt}")
    return n


@task(retry=Retry.fixed(max_attempts=2, delay="6s"))
async def fail_once_then_later(n: int) -> int:
    raise OSError("not today")


@task
def thread_name() -> str:
    return threading.current_thread().name


@workflow
async def doubling(run: WorkflowRun, n: int) -> int:
    return await double.run(run, n)


@workflow
async def stubborn(run: WorkflowRun, n: int) -> int:
    return await third_time.run(run, n)


async def test_a_worker_needs_workflows(client: Client) -> None:
    with pytest.raises(UsageError, match="at least one workflow"):
        async with Worker(client):
            pass


async def test_a_worker_that_was_not_opened_says_how_to(client: Client) -> None:
    with pytest.raises(UsageError, match="not opened") as refused:
        await Worker(client, workflows=[doubling]).run()
    assert "async with Worker" in str(refused.value.__notes__)


async def test_versions_run_side_by_side(client: Client) -> None:
    @workflow(name="greet", version="1")
    async def old(run: WorkflowRun, name: str) -> str:
        return f"hello {name}"

    @workflow(name="greet", version="2")
    async def new(run: WorkflowRun, name: str) -> str:
        return f"hi {name}"

    before = await old.enqueue(client, "ann")
    after = await new.enqueue(client, "ann")
    async with Worker(client, workflows=[new], id="new"):
        assert await after.result(timeout=ENOUGH) == "hi ann"
        assert (await before.status()).state is State.QUEUED
        async with Worker(client, workflows=[old], id="old"):
            assert await before.result(timeout=ENOUGH) == "hello ann"
    actors = [entry.actor async for entry in client.runs.history(before.run_id) if entry.move == "claim"]
    assert actors == ["old"]


async def test_more_routes_than_slots_starve_none(client: Client) -> None:
    flows = []
    for number in range(15):

        async def body(run: WorkflowRun, n: int) -> int:
            return await double.run(run, n)

        flows.append(workflow(name=f"route-{number}", version="1")(body))
    handles: list[Handle[int]] = []
    for flow in flows:
        handles += await client.enqueue_many(flow.bind(n) for n in range(4))
    async with Worker(client, workflows=flows, max_concurrent_runs=3):
        with anyio.fail_after(patient(20)):
            results = await asyncio.gather(*(handle.result() for handle in handles))
    assert results == [2 * n for n in range(4)] * 15


async def test_slots_bound_what_runs_at_once_and_waiting_runs_hold_none(client: Client) -> None:
    running = 0
    most = 0

    @task
    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    @workflow
    async def counted(run: WorkflowRun) -> None:
        await count.run(run)
        await run.sleep("200ms")
        await count.run(run)

    handles = await client.enqueue_many(counted.bind() for _ in range(20))
    async with Worker(client, workflows=[counted], max_concurrent_runs=4):
        began = time.monotonic()
        with anyio.fail_after(patient(20)):
            await asyncio.gather(*(handle.result() for handle in handles))
    assert 1 < most <= 4
    assert time.monotonic() - began < patient(20 / 4 * 0.2 + 2.0), "sleeping runs seem to hold slots"


async def test_retries_count_attempts_and_are_told(client: Client) -> None:
    async with Worker(client, workflows=[stubborn]):
        handle = await stubborn.enqueue(client, 7)
        assert await handle.result(timeout=ENOUGH) == 7
    failures = [entry async for entry in client.runs.history(handle.run_id) if entry.move == "attempt"]
    assert ["attempt 1" in str(failures[0].value), "attempt 2" in str(failures[1].value)] == [True, True]


async def test_a_retry_that_is_due_later_holds_no_worker_and_can_be_cut_short(client: Client) -> None:
    @workflow
    async def patient(run: WorkflowRun) -> str:
        try:
            await fail_once_then_later.run(run, 1)
        except TaskFailed as error:
            return f"{error.type} after {error.attempts}"
        return "done"

    handle = await patient.enqueue(client)
    async with Worker(client, workflows=[patient], id="first"):
        await until(handle, State.RETRYING)
    status = await handle.status()
    assert status.due_at is not None
    assert status.worker is None
    assert status.due_at > datetime.now(UTC)
    assert status.why is not None
    assert status.why.startswith("waits to try again at ")
    assert status.why.endswith("): task fail_once_then_later failed at attempt 1: OSError: not today")
    async with Worker(client, workflows=[patient], id="second"):
        await client.runs.resume(handle.run_id, actor="me")
        # Claimed early, the run parks itself again until the attempt is due; that one fails as well, and is the last.
        assert await handle.result(timeout=ENOUGH) == "OSError after 2"


async def test_code_that_diverged_is_blocked_with_a_diff_and_resumes_when_it_is_fixed(client: Client) -> None:
    @task
    async def other(n: int) -> int:
        return n

    @workflow(name="evolving", version="1")
    async def good(run: WorkflowRun) -> int:
        n = await double.run(run, 1)
        await run.sleep("100ms")
        return n + await double.run(run, 20)

    @workflow(name="evolving", version="1")
    async def bad(run: WorkflowRun) -> int:
        n = await other.run(run, 1)
        await run.sleep("100ms")
        return n + await double.run(run, 20)

    handle = await good.enqueue(client)
    async with Worker(client, workflows=[good], linger="0s"):
        await until(handle, State.SLEEPING)
    async with Worker(client, workflows=[bad]):
        with pytest.raises(RunBlocked, match="double"):
            await handle.result(timeout=ENOUGH)
    status = await handle.status()
    assert status.state is State.BLOCKED
    assert status.why is not None
    assert "task:double" in status.why
    assert "task:other" in status.why
    async with Worker(client, workflows=[good]):
        await client.runs.resume(handle.run_id, actor="dev")
        assert await handle.result(timeout=ENOUGH) == 42
    story = [(entry.move, entry.actor) async for entry in client.runs.history(handle.run_id)]
    assert ("resume", "dev") in story


async def test_the_history_tells_the_story_in_order(client: Client) -> None:
    async with Worker(client, workflows=[doubling], id="w"):
        handle = await doubling.enqueue(client, 4)
        assert await handle.result(timeout=ENOUGH) == 8
    story = [entry async for entry in client.runs.history(handle.run_id)]
    assert [entry.move for entry in story] == ["enqueued", "claim", "entry", "complete"]
    assert story[2].key is not None
    assert story[2].key.startswith("task:double:")
    assert (story[2].ok, story[2].value) == (True, 8)
    assert [entry.at for entry in story] == sorted(entry.at for entry in story)
    assert await client.runs.input(handle.run_id) == {"n": 4}


async def test_a_delayed_run_starts_when_it_is_due(client: Client) -> None:
    later = datetime.now(UTC) + timedelta(milliseconds=300)
    delayed = await doubling.options(delay="300ms").enqueue(client, 1)
    dated = await doubling.options(start_at=later).enqueue(client, 2)
    assert [(await handle.status()).state for handle in (delayed, dated)] == [State.SCHEDULED] * 2
    async with Worker(client, workflows=[doubling]):
        assert [await handle.result(timeout=ENOUGH) for handle in (delayed, dated)] == [2, 4]
    first, second = await delayed.status(), await dated.status()
    for due, started in (first.created_at + timedelta(milliseconds=300), first.started_at), (later, second.started_at):
        assert started is not None
        assert timedelta(0) <= started - due < timedelta(seconds=patient(2))


async def test_higher_priority_goes_first(client: Client) -> None:
    low = await client.enqueue_many(doubling.options(priority=-5).bind(n) for n in range(3))
    high = await client.enqueue_many(doubling.options(priority=5).bind(n) for n in range(3))
    async with Worker(client, workflows=[doubling], max_concurrent_runs=1):
        with anyio.fail_after(patient(20)):
            await asyncio.gather(*(handle.result() for handle in low + high))
    started = sorted(await client.runs.status(h.run_id for h in low + high), key=lambda run: str(run.started_at))
    assert [run.priority for run in started] == [5, 5, 5, -5, -5, -5]


async def test_plain_functions_run_in_threads_side_by_side(client: Client) -> None:
    barrier = threading.Barrier(4, timeout=patient(10))

    @task
    def meet() -> str:
        barrier.wait()
        return threading.current_thread().name

    @workflow
    async def meeting(run: WorkflowRun) -> int:
        return len(set(await asyncio.gather(*(meet.run(run) for _ in range(4)))))

    async with Worker(client, workflows=[meeting]):
        assert await (await meeting.enqueue(client)).result(timeout=ENOUGH) == 4


async def test_an_input_that_the_code_no_longer_takes_fails_the_run(client: Client) -> None:
    @workflow(name="takes", version="1")
    async def text(run: WorkflowRun, value: str) -> str:
        return value

    @workflow(name="takes", version="1")
    async def number(run: WorkflowRun, value: int) -> int:
        return value

    handle = await text.enqueue(client, "seven")
    async with Worker(client, workflows=[number]):
        with pytest.raises(RunFailed, match=r"\$\.value") as caught:
            await handle.result(timeout=ENOUGH)
    assert caught.value.type == "PayloadError"


async def test_a_fatal_error_is_not_retried(client: Client) -> None:
    tries = 0

    @task(retry=Retry.fixed(max_attempts=5, delay="1ms"))
    async def hopeless() -> None:
        nonlocal tries
        tries += 1
        raise Fatal("no such account")

    @workflow
    async def flow(run: WorkflowRun) -> str:
        try:
            await hopeless.run(run)
        except TaskFailed as error:
            return error.message
        return ""

    async with Worker(client, workflows=[flow]):
        assert await (await flow.enqueue(client)).result(timeout=ENOUGH) == "no such account"
    assert tries == 1


async def test_runs_are_listed_found_and_counted(client: Client) -> None:
    async with Worker(client, workflows=[doubling]):
        keyed = await doubling.options(idempotency_key="k", labels={"team": "a"}).enqueue(client, 1)
        plain = await doubling.options(labels={"team": "b"}).enqueue(client, 2)
        await keyed.result(timeout=ENOUGH)
        await plain.result(timeout=ENOUGH)
        page = await client.runs.list(states=[State.COMPLETED], labels={"team": "a"})
        assert [status.run_id for status in page.runs] == [keyed.run_id]
        assert [status.run_id for status in (await client.runs.list(limit=1)).runs] == [plain.run_id]
        assert await client.runs.find("doubling@k") == keyed.run_id
        assert await client.runs.find(plain.run_id[-12:]) == plain.run_id
        summary = await client.runs.summary()
        assert summary.workers == 1
        assert [(row.state, row.runs) for row in summary.counts] == [(State.COMPLETED, 2)]


async def test_a_run_says_why_nothing_happens(client: Client) -> None:
    handle = await doubling.enqueue(client, 1)
    why = (await handle.status()).why
    assert why is not None
    assert "doubling" in why


async def until(handle: Handle[object], state: State) -> None:
    """Wait until the run is in the state, which it must not leave by itself."""
    with anyio.fail_after(patient(10)):
        async with aclosing(handle.watch()) as changes:
            async for status in changes:
                if status.state is state:
                    return


async def test_what_is_added_to_a_worker_that_runs_is_served(client: Client) -> None:
    @workflow
    async def first(run: WorkflowRun) -> int:
        return 1

    @workflow
    async def second(run: WorkflowRun) -> int:
        return 2

    @workflow
    async def third(run: WorkflowRun, n: int) -> int:
        return 3 * n

    early = await second.enqueue(client)
    async with Worker(client, workflows=[first]) as worker:
        worker.registry.add(second).add(third).add(first)
        assert await early.result(timeout=ENOUGH) == 2
        assert await (await third.enqueue(client, 1)).result(timeout=ENOUGH) == 3

        async def all_known() -> Any:
            return len([info for info in await client.workflows.list() if info.live]) == 3

        await wait_until(all_known, what="the daemon to know what is served")
        assert await (await client.enqueue("third", {"n": 2})).result(timeout=ENOUGH) == 6


async def test_the_status_of_a_running_run_says_which_task_is_tried_again(client: Client) -> None:
    @task(retry=Retry.fixed(max_attempts=2, delay="4s"))
    async def flaky() -> None:
        raise OSError("not yet")

    @workflow
    async def impatient(run: WorkflowRun) -> None:
        await flaky.run(run)

    handle = await impatient.enqueue(client)
    async with Worker(client, workflows=[impatient], drain="0s"):

        async def tried() -> Any:
            status = await handle.status()
            return status if status.due_at else None

        status: Any = await wait_until(tried, what="the wait before the next try")
        (listed,) = (await client.runs.list(states=[State.RUNNING])).runs
    failed = "task flaky failed at attempt 1: OSError: not yet"
    assert (status.state, listed.why) == (State.RUNNING, failed)
    assert status.why.endswith(f": {failed}")
    assert timedelta() < status.due_at - status.created_at
    assert listed.due_at == status.due_at
