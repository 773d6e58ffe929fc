"""Recordings of runs, read from a live server as a client does: whole, in order, and few at a time."""

from __future__ import annotations

import asyncio

import pytest

from aiki import Client, Event, NotFound, RunFilter, Worker, WorkflowRun, task, workflow
from aiki.core.states import State
from aiki.replay.recording import Recording
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)
LONG = 700


@task
def echo(text: str) -> str:
    return text


@workflow
async def long(run: WorkflowRun, count: int) -> int:
    await asyncio.gather(*[echo.run(run, f"{number:05}" + "x" * 1_000) for number in range(count)])
    await run.wait_for(approved)
    return count


@workflow
async def small(run: WorkflowRun, number: int) -> int:
    await echo.run(run, str(number))
    return number


@workflow
async def parent(run: WorkflowRun, count: int) -> int:
    return sum(await run.all([await small.start(run, number) for number in range(count)]))


async def read(client: Client, *run_ids: str, history: bool = False) -> list[Recording]:
    return [one async for one in client.runs.export(run_ids, history=history)]


async def test_a_journal_of_many_pages_is_read_whole(client: Client) -> None:
    async with Worker(client, workflows=[long]):
        handle = await client.enqueue(long.bind(LONG))

        async def rests() -> bool:
            return (await handle.status()).tasks == LONG

        await wait_until(rests)
    for number in range(3):
        await client.runs.send([handle.run_id], "other", number)
    (one,) = await read(client, handle.run_id, history=True)
    assert len(one.entries) == one.exported.run.length == LONG
    assert len({entry.key for entry in one.entries}) == LONG
    assert [arrival.name for arrival in one.unread] == ["other"] * 3
    assert [item.move for item in one.history][:2] == ["enqueued", "claim"]
    assert (one.exported.run.entries, one.exported.run.arrivals) == ([], [])


async def test_the_ends_of_children_come_with_a_run_that_has_ended(client: Client) -> None:
    async with Worker(client, workflows=[parent, small]):
        handle = await client.enqueue(parent.bind(5))
        assert await handle.result(timeout="30s") == 10
    (one,) = await read(client, handle.run_id)
    assert one.exported.state is State.COMPLETED
    assert len(one.ends) == 5


async def test_many_runs_come_in_the_order_asked_and_a_filter_means_those_that_ended_too(client: Client) -> None:
    async with Worker(client, workflows=[small]):
        handles = await client.enqueue_many(small.bind(number) for number in range(130))
        await asyncio.gather(*[handle.result(timeout="30s") for handle in handles])
    queued = await client.enqueue("small", {"number": 1})
    ids = [handle.run_id for handle in reversed(handles)]
    assert [one.run_id for one in await read(client, *ids)] == ids
    found = [one.run_id async for one in client.runs.export(RunFilter(workflow="small"))]
    assert found == [queued.run_id, *ids]
    newest = [one.run_id async for one in client.runs.export(RunFilter(states=[State.COMPLETED]), limit=60)]
    assert newest == ids[:60]


async def test_a_run_that_is_not_there_is_said_before_anything_comes(client: Client) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        await read(client, "01a22985-0000-7000-8000-000000000000")
