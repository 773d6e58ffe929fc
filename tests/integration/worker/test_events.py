"""Waits and sends of bodies on real servers: what comes in time is never overtaken, and a send is made once."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from aiki import Client, Event, EventTimeout, Handle, RunEnded, SendFailed, Worker, WorkflowRun, task, workflow
from aiki.core import failpoints
from tests.parts import parts
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

ROUNDS = 200
approved, voted = Event("approved", type=str), Event("voted", type=int)


@task
async def twice(number: int) -> int:
    return 2 * number


@workflow
async def patient_one(run: WorkflowRun, timeout: str) -> list[str]:
    """Return when the event came and, if the wait was over before, when that was."""
    try:
        return [(await run.wait_any(approved, timeout=timeout)).at.isoformat()]
    except EventTimeout:
        over = run.now().isoformat()
        return [(await run.wait_any(approved)).at.isoformat(), over]


@workflow
async def counting(run: WorkflowRun) -> list[int]:
    first, others = await asyncio.gather(run.wait_for(voted), run.wait_for(voted, count=2))
    return [first, *others]


@workflow
async def sending(run: WorkflowRun, to: str) -> list[str]:
    said: list[str] = []
    for text in ("a", "b"):
        number = await twice.run(run, len(said))
        try:
            await run.send(to, approved, f"{text}{number}")
            said.append("taken")
        except RunEnded as error:
            said.append(f"ended: {error.state}")
        except SendFailed as error:
            said.append(error.result)
    return said


@workflow
async def hearing(run: WorkflowRun) -> list[str]:
    return [await run.wait_for(approved), await run.wait_for(approved)]


@workflow
async def musing(run: WorkflowRun) -> str:
    await run.send(run.run_id, approved, "to myself")
    return await run.wait_for(approved)


@pytest.fixture
def client(client_of_app: Client) -> Client:
    return client_of_app


def serving(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=[patient_one, counting, sending, hearing, musing], **options)


async def keys(client: Client, handle: Handle[Any]) -> list[str]:
    found = [item async for item in client.runs.history(handle.run_id) if item.move == "entry"]
    return [item.key for item in found if item.key is not None]


async def test_an_event_in_time_is_taken_though_no_worker_was_told_of_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await patient_one.enqueue(client, "2s")
        await wait_until(lambda: parts(worker).slots._lingering, what="the run's rest")
        armed = failpoints.parse("worker.told=drop")["worker.told"]
        monkeypatch.setitem(failpoints._armed, "worker.told", armed)
        await handle.send(approved, "in time")
        assert len(await handle.result(timeout=ENOUGH)) == 1
        assert armed.left <= 0, "the push came"


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_a_wait_is_over_at_its_time_and_the_next_event_is_for_the_next_wait(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await patient_one.enqueue(client, "200ms")

        async def over() -> bool:
            return bool(await keys(client, handle))

        await wait_until(over, what="the timeout")
        await handle.send(approved, "late")
        came, at = await handle.result(timeout=ENOUGH)
        assert came > at
        (timed_out, taken) = await keys(client, handle)
        assert timed_out.startswith("event:approved:")
        assert taken.startswith("event:approved:")


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_of_events_that_come_around_the_deadlines_of_their_waits_none_is_overtaken(
    client: Client, linger: str
) -> None:
    async with serving(client, linger=linger, max_concurrent_runs=ROUNDS):
        timeouts = [*(f"{10 * number}ms" for number in range(ROUNDS - 1)), "10m"]
        handles = await client.enqueue_many([patient_one.bind(timeout) for timeout in timeouts])
        draw = random.Random(7)

        async def send(handle: Handle[list[str]]) -> None:
            await asyncio.sleep(draw.uniform(0.3, 1.3))  # while deadlines pass
            if handle is handles[0]:  # one is late for certain, however slow the machine is
                await wait_until(partial(keys, client, handle), what="the first timeout")
            await handle.send(approved, "now or never")

        await asyncio.gather(*map(send, handles))
        told = [await handle.result(timeout=ENOUGH) for handle in handles]
        late = [times for times in told if len(times) == 2]
        assert all(came > over for came, over in late)
        assert (len(told[0]), len(told[-1])) == (2, 1)


async def test_a_count_takes_its_events_beside_a_single_wait(client: Client) -> None:
    async with serving(client):
        handle = await counting.enqueue(client)
        for number in (1, 2, 3):
            await handle.send(voted, number)
        assert await handle.result(timeout=ENOUGH) == [1, 2, 3]


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_what_a_run_sends_reaches_another_once_and_an_ended_one_not(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        other = await hearing.enqueue(client)
        sender = await sending.enqueue(client, other.run_id)
        assert await sender.result(timeout=ENOUGH) == ["taken", "taken"]
        assert await other.result(timeout=ENOUGH) == ["a0", "b2"]
        late = await sending.enqueue(client, other.run_id)
        assert await late.result(timeout=ENOUGH) == ["ended: completed", "ended: completed"]
        lost = await sending.enqueue(client, "0190b0a0-0000-7000-8000-00000000000f")
        assert await lost.result(timeout=ENOUGH) == ["unknown", "unknown"]


async def test_a_run_may_send_to_itself(client: Client) -> None:
    async with serving(client):
        handle = await musing.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == "to myself"
