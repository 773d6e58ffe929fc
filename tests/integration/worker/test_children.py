"""Children on real servers: started with their parent's unit, and waited for in memory or out of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki import ChildFailed, Client, Conflict, Event, Handle, RunCancelled, Worker, Workflow, WorkflowRun, workflow
from aiki.core.states import State
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)


@workflow
async def square(run: WorkflowRun, number: int) -> int:
    return number * number


@workflow
async def breaks(run: WorkflowRun, text: str) -> None:
    raise ValueError(text)


@workflow
async def hears(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


@workflow
async def adds(run: WorkflowRun, count: int) -> int:
    return sum(await run.all([await square.start(run, number) for number in range(count)]))


@workflow
async def gathers(run: WorkflowRun, count: int) -> list[int]:
    return list(await asyncio.gather(*[square.run(run, number) for number in range(count)]))


@workflow
async def talks(run: WorkflowRun) -> list[str]:
    one, two, three = await hears.start(run), await hears.start(run), await breaks.start(run, "no stock")
    await asyncio.gather(one.send(approved, "hello"), two.cancel(reason="not needed"))
    said = [await one.result()]
    for child in (two, three):
        try:
            await child.result()
        except ChildFailed as error:
            said += [error.state, error.type, error.message]
    return said


@workflow
async def keyed(run: WorkflowRun, number: int, other: int) -> list[Any]:
    theirs = square.options(idempotency_key="the one")
    same = [await theirs.start(run, number), await theirs.start(run, number)]
    said: list[Any] = [same[0].run_id, same[1].run_id, await same[1].result()]
    try:
        await square.options(idempotency_key="another").run(run, other)
    except Conflict:
        said.append("conflict")
    return said


@workflow
async def rests(run: WorkflowRun) -> None:
    await hears.options(parent_close="abandon").start(run)
    await hears.run(run)


FLOWS: list[Workflow[Any, Any]] = [square, breaks, hears, adds, gathers, talks, keyed, rests]


@pytest.fixture
def client(client_of_app: Client) -> Client:
    return client_of_app


def serving(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=FLOWS, **options)


async def entries(client: Client, handle: Handle[Any]) -> list[str]:
    found = [item async for item in client.runs.history(handle.run_id) if item.move == "entry"]
    return [item.key.split(":")[0] for item in found if item.key is not None]


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_a_parent_gets_what_all_its_children_have_come_to(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await adds.enqueue(client, 50)
        assert await handle.result(timeout=ENOUGH) == sum(number * number for number in range(50))
        assert await entries(client, handle) == ["starts", "all"]
        assert (await handle.status()).claims <= (2 if linger == "0s" else 1), "it is woken once"


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_children_that_are_gathered_are_an_entry_each(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await gathers.enqueue(client, 20)
        assert await handle.result(timeout=ENOUGH) == [number * number for number in range(20)]
        assert await entries(client, handle) == ["starts", *["end"] * 20]


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_children_are_sent_to_and_cancelled_in_the_unit_that_starts_them(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await talks.enqueue(client)
        said = ["hello", "cancelled", "RunCancelled", "it did not come to its end", "failed", "ValueError", "no stock"]
        assert await handle.result(timeout=ENOUGH) == said


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_a_start_with_a_key_finds_who_has_it(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        before = await square.options(idempotency_key="the one").enqueue(client, 3)
        await square.options(idempotency_key="another").enqueue(client, 4)
        handle = await keyed.enqueue(client, 3, 5)
        assert await handle.result(timeout=ENOUGH) == [before.run_id, before.run_id, 9, "conflict"]


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_a_cancel_goes_down_a_family_and_leaves_out_whom_it_was_to_abandon(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await rests.enqueue(client)

        async def waits() -> bool:
            runs = (await client.runs.list(workflow="hears")).runs
            return [run.state for run in runs].count(State.WAITING if linger == "0s" else State.RUNNING) == 2

        await wait_until(waits, what="both children")
        await handle.cancel(wait=ENOUGH)
        with pytest.raises(RunCancelled):
            await handle.result(timeout=ENOUGH)
        assert await entries(client, handle) == ["starts", "cancel", "end", "interrupt"]
        states = [run.state for run in (await client.runs.list(workflow="hears")).runs]
        assert sorted(states) == sorted([State.CANCELLED, State.WAITING if linger == "0s" else State.RUNNING])
