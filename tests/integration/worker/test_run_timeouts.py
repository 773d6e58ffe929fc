"""A run whose own timeout passes while a worker has it, or had it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from aiki import Client, RunTimedOut, State, Worker, WorkflowRun, task, workflow
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

starts: list[str] = []
undone: list[str] = []
PASSES = "UPDATE aiki.deadlines SET at = aiki.now(), look_at = aiki.now() WHERE run_id = %s"


@task
async def hold(run_id: str) -> None:
    starts.append(run_id)
    await asyncio.sleep(3600)


@workflow(timeout="500ms", cancel_timeout="200ms")
async def holds(run: WorkflowRun) -> None:
    await hold.run(run, run.run_id)


@workflow(timeout="1h", cancel_timeout="200ms")
async def holds_long(run: WorkflowRun) -> None:
    await hold.run(run, run.run_id)


@workflow(timeout="500ms", cancel_timeout="200ms")
async def sleeps(run: WorkflowRun) -> None:
    await run.sleep("1h")


@task
async def undo(run_id: str) -> None:
    undone.append(run_id)


@workflow(timeout="1h")
async def undoes(run: WorkflowRun) -> None:
    try:
        await run.sleep("2h")
    finally:
        await undo.run(run, run.run_id)


@workflow(timeout="1h")
async def in_time(run: WorkflowRun) -> str:
    await run.sleep("50ms")
    return "in time"


def let_pass(database: str, run_id: str) -> None:
    """Let the deadline of a run be now."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(PASSES, [run_id])


@pytest.mark.parametrize("flow", [holds, sleeps])
async def test_a_run_that_goes_on_after_its_deadline_is_ended_and_its_slot_is_free(
    client: Client, flow: object
) -> None:
    assert flow in (holds, sleeps)
    made = holds if flow is holds else sleeps
    async with Worker(client, workflows=[made, in_time], max_concurrent_runs=1):
        handle = await made.enqueue(client)
        with pytest.raises(RunTimedOut):
            await handle.result(timeout=ENOUGH)
        status = await handle.status()
        assert (status.state, status.timed_out) == (State.FAILED, True)
        other = await in_time.enqueue(client)
        assert await other.result(timeout=ENOUGH) == "in time"
    assert (await handle.status()).state is State.FAILED


async def test_a_run_whose_worker_has_gone_is_ended_without_compensation(client_of_app: Client, database: str) -> None:
    async with Worker(client_of_app, workflows=[holds_long], drain="0s"):
        handle = await holds_long.enqueue(client_of_app)

        async def has_begun() -> bool:
            return handle.run_id in starts

        await wait_until(has_begun, what="the run does not begin")
    let_pass(database, handle.run_id)
    with pytest.raises(RunTimedOut, match="ended without compensation"):
        await handle.result(timeout=ENOUGH)
    history = client_of_app.runs.history(handle.run_id)
    assert [one.move async for one in history if one.move != "claim"] == ["enqueued", "release", "told", "time_out"]


async def test_a_run_that_has_left_memory_is_told_of_its_deadline_and_compensates(
    client_of_app: Client, database: str
) -> None:
    async with Worker(client_of_app, workflows=[undoes], linger="0s"):
        handle = await undoes.enqueue(client_of_app)

        async def has_left() -> bool:
            return (await handle.status()).state is State.SLEEPING

        await wait_until(has_left, what="the run leaves memory")
        let_pass(database, handle.run_id)
        with pytest.raises(RunTimedOut):
            await handle.result(timeout=ENOUGH)
    assert undone == [handle.run_id]
    moves = [item.move async for item in client_of_app.runs.history(handle.run_id) if item.move != "entry"]
    assert moves == ["enqueued", "claim", "sleep", "due", "claim", "fail"]
