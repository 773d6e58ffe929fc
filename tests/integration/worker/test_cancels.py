"""Cancels of runs that a worker holds or has parked: tasks, then bodies, hear of them, on real servers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiki import (
    Client,
    Conflict,
    Event,
    Handle,
    RunCancelled,
    TaskCancelled,
    Worker,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
from tests.parts import parts
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

begun: list[str] = []
heard: list[str] = []
beating = threading.Event()


@task
async def hang(name: str) -> str:
    begun.append(name)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        heard.append(f"{name} by CancelledError")
        raise
    return name


@task
def beat() -> None:
    begun.append("beat")
    try:
        while not beating.wait(0.01):
            task_run().heartbeat()
    except TaskCancelled:
        heard.append("beat by TaskCancelled")
        raise


@task
async def refund(what: str) -> None:
    begun.append(f"refund {what}")


@workflow
async def ordering(run: WorkflowRun, task_name: str) -> None:
    try:
        await (beat.run(run) if task_name == "beat" else hang.run(run, task_name))
    finally:
        heard.append("body")
        await refund.run(run, task_name)
        await run.sleep("10ms")


@workflow
async def sleeping(run: WorkflowRun, duration: str) -> None:
    try:
        await run.sleep(duration)
    finally:
        await refund.run(run, duration)


@workflow
async def undoing(run: WorkflowRun) -> None:
    try:
        await run.wait_for(Event("go"))
    finally:
        await hang.run(run, "hang")


@workflow
async def quick(run: WorkflowRun) -> str:
    return "done"


@pytest.fixture(autouse=True)
def begin() -> None:
    begun.clear()
    heard.clear()
    beating.clear()


@pytest.fixture
async def client(client_of_app: Client) -> AsyncIterator[Client]:
    yield client_of_app
    beating.set()


def serving(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=[ordering, sleeping, undoing, quick], **options)


async def until(handle: Handle[Any], state: str) -> None:
    async def reached() -> bool:
        return (await handle.status()).state.value == state

    await wait_until(reached, what=f"the run to be {state}")


@pytest.mark.parametrize(("name", "how"), [("hang", "CancelledError"), ("beat", "TaskCancelled")])
async def test_a_cancel_reaches_a_running_task_and_then_the_body_within_a_second(
    client: Client, name: str, how: str
) -> None:
    async with serving(client):
        handle = await ordering.enqueue(client, name)
        await wait_until(lambda: begun == [name], what="the task to begin")
        asked = time.monotonic()
        run = await handle.cancel(reason="wrong address", wait=ENOUGH)
        assert time.monotonic() - asked < patient(1)
    assert run.state.value == "cancelled"
    assert heard == [f"{name} by {how}", "body"]
    assert begun == [name, f"refund {name}"]
    assert run.why is not None
    assert "wrong address" in run.why
    story = [line async for line in client.runs.history(handle.run_id)]
    (cut,) = [line.value["traceback"] for line in story if line.task == name]
    assert "hands.py" not in cut, "it ends where the task waited"
    with pytest.raises(RunCancelled, match="wants it cancelled: wrong address"):
        await handle.result()


async def test_a_cancel_wakes_a_run_that_has_left_memory(client: Client) -> None:
    async with serving(client):
        handle = await sleeping.enqueue(client, "1h")
        await until(handle, "sleeping")
        run = await handle.cancel(wait=ENOUGH)
    assert (run.state.value, begun) == ("cancelled", ["refund 1h"])


async def test_a_cancel_reaches_a_run_that_lingers(client: Client) -> None:
    async with serving(client) as worker:
        handle = await sleeping.enqueue(client, "8s")
        await wait_until(lambda: len(parts(worker).slots._lingering) == 1, what="the run's rest")
        run = await handle.cancel(wait=ENOUGH)
    assert (run.state.value, begun) == ("cancelled", ["refund 8s"])


async def test_a_run_that_no_worker_has_taken_up_is_cancelled_at_once(client: Client) -> None:
    handle = await quick.enqueue(client)
    assert (await handle.cancel()).state.value == "cancelled"
    assert (await handle.cancel()).state.value == "cancelled", "it stays so"


async def test_a_cancel_of_a_run_that_has_ended_is_too_late(client: Client) -> None:
    async with serving(client):
        handle = await quick.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == "done"
        with pytest.raises(Conflict, match="too late"):
            await handle.cancel()


async def test_a_cancel_by_force_cuts_a_task_off_and_frees_its_slot_and_nothing_is_taken_back(
    client: Client,
) -> None:
    async with serving(client, max_concurrent_runs=1):
        handle = await ordering.enqueue(client, "hang")
        await wait_until(lambda: begun == ["hang"], what="the task to begin")
        run = await handle.cancel(force=True)
        assert run.state.value == "cancelled"
        assert await (await quick.enqueue(client)).result(timeout=ENOUGH) == "done"
    assert "hang by CancelledError" in heard
    assert begun == ["hang"], "nothing is taken back"


async def test_a_run_that_takes_longer_to_end_than_it_may_is_cancelled_all_the_same(client: Client) -> None:
    async with serving(client):
        handle = await undoing.options(cancel_timeout="200ms").enqueue(client)
        await until(handle, "running")
        run = await handle.cancel(wait=ENOUGH)
        assert run.state.value == "cancelled"
        assert run.why == "it was cancelled, and did not end in time after that: ended without compensation"
        await wait_until(lambda: ("hang" in begun) == ("hang by CancelledError" in heard), what="its task's end")


async def test_a_cancel_by_force_ends_a_run_in_the_middle_of_its_compensation(client: Client) -> None:
    async with serving(client):
        handle = await undoing.enqueue(client)
        await until(handle, "running")
        await handle.cancel()
        await wait_until(lambda: begun == ["hang"], what="its compensation")
        await handle.cancel(reason="again")
        assert [line.move async for line in client.runs.history(handle.run_id)][-1] == "told", "history only"
        await handle.cancel(force=True)
        with pytest.raises(RunCancelled, match="ended at once, without compensation"):
            await handle.result(timeout=ENOUGH)
        await wait_until(lambda: heard == ["hang by CancelledError"], what="the task to be cut off")
