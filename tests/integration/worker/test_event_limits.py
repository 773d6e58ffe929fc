"""Events at their limits, on real servers: what was accepted can be taken, or the body is told why not."""

from __future__ import annotations

import asyncio

import pytest

from aiki import Client, Event, Worker, WorkflowRun, workflow
from aiki.wire.limits import PAYLOAD_BYTES, WAITED_WORDS
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio

told = Event("told", type=str)


@workflow
async def taking(run: WorkflowRun) -> int:
    text: str = await run.wait_for(told)
    return len(text)


@workflow
async def waiting(run: WorkflowRun, names: int) -> str:
    waits = (run.wait_for(Event(f"{'x' * 60}{number:04}"), timeout="500ms") for number in range(names))
    (first, *_) = await asyncio.gather(*waits, return_exceptions=True)
    return str(first)


async def test_an_event_of_the_largest_size_is_taken(client: Client) -> None:
    async with Worker(client, workflows=[taking]):
        handle = await taking.enqueue(client)
        await handle.send(told, "x" * (PAYLOAD_BYTES - 2))
        assert await handle.result(timeout=ENOUGH) == PAYLOAD_BYTES - 2


async def test_a_run_parks_that_waits_for_as_many_events_as_it_can(client: Client) -> None:
    async with Worker(client, workflows=[waiting], linger="0s"):
        handle = await waiting.enqueue(client, WAITED_WORDS)
        assert "has not come within 0.5 s" in await handle.result(timeout=ENOUGH)
        assert (await handle.status()).claims == 2
