"""Runs that go on in generation after generation, on real servers: one run to whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki import Client, Event, RunCancelled, State, Worker, WorkflowRun, task, workflow
from aiki.core import failpoints
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

GENERATIONS = 30
approved = Event("approved", type=str)
starts: list[int] = []


@task
async def add(number: int) -> int:
    starts.append(number)
    return number + 1


@workflow
async def adding(run: WorkflowRun, until: int, number: int = 0) -> list[int]:
    number = await add.run(run, number)
    if number < until:
        adding.continue_as_new(run, until, number=number)
    return [run.generation, number]


@workflow
async def gathering(run: WorkflowRun, count: int, heard: list[str]) -> list[str]:
    heard.append(await run.wait_for(approved))
    if len(heard) < count:
        gathering.continue_as_new(run, count, heard)
    return heard


@workflow(name="moves", version="1")
async def moves(run: WorkflowRun, been: list[str]) -> list[str]:
    moves.options(version="2").continue_as_new(run, [*been, run.version])


@workflow(name="moves", version="2")
async def moves_on(run: WorkflowRun, been: list[str]) -> list[str]:
    return [*been, run.version]


@pytest.fixture(autouse=True)
def nothing_started() -> None:
    starts.clear()


@pytest.fixture
def client(client_of_app: Client) -> Client:
    return client_of_app


def serving(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=[adding, gathering, moves], **options)


async def test_a_run_goes_on_for_many_generations_and_each_task_runs_once(client: Client) -> None:
    async with serving(client):
        keyed = adding.options(idempotency_key="k")
        handle = await keyed.enqueue(client, GENERATIONS)
        again = await keyed.enqueue(client, GENERATIONS)
        assert (again.run_id, again.created) == (handle.run_id, False)
        assert await handle.result(timeout=ENOUGH) == [GENERATIONS - 1, GENERATIONS]
        assert starts == list(range(GENERATIONS))
        status = await handle.status()
        assert (status.state, status.generation, status.tasks) == (State.COMPLETED, GENERATIONS - 1, 1)
        assert (await keyed.enqueue(client, GENERATIONS)).run_id == handle.run_id


@pytest.mark.parametrize("linger", ["0s", "60s"], ids=["suspended", "lingering"])
async def test_events_are_taken_in_order_over_generations(client: Client, linger: str) -> None:
    async with serving(client, linger=linger):
        handle = await gathering.enqueue(client, 12, [])
        words = [f"{number}" for number in range(12)]
        for number, word in enumerate(words):
            await handle.send(approved, word)
            if number % 4 == 0:
                await asyncio.sleep(0)
        assert await handle.result(timeout=ENOUGH) == words


async def test_a_cancel_ends_a_run_that_goes_on_for_ever(client: Client) -> None:
    async with serving(client):
        handle = await adding.enqueue(client, 1_000_000)

        async def is_under_way() -> bool:
            return (await handle.status()).generation > 3

        await wait_until(is_under_way, what="some generations")
        await handle.cancel(wait=ENOUGH)
        with pytest.raises(RunCancelled):
            await handle.result(timeout=ENOUGH)


async def test_another_version_carries_a_run_on_once_a_worker_serves_it(client: Client) -> None:
    async with serving(client):
        handle = await moves.enqueue(client, [])

        async def is_moved() -> bool:
            status = await handle.status()
            return (status.version, status.state) == ("2", State.QUEUED)

        await wait_until(is_moved, what="the next generation")
        async with Worker(client, workflows=[moves_on]):
            assert await handle.result(timeout=ENOUGH) == ["1", "2"]


async def test_a_lost_answer_to_the_end_of_a_generation_changes_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = failpoints.parse("record.before_reply=drop@2")["record.before_reply"]
    monkeypatch.setitem(failpoints._armed, "record.before_reply", armed)
    async with serving(client):
        handle = await adding.enqueue(client, 4)
        assert await handle.result(timeout=ENOUGH) == [3, 4]
        assert armed.left <= 0, "no answer was lost"
        assert starts == [0, 1, 2, 3]


async def test_a_pause_between_generations_holds_the_next_one(client: Client) -> None:
    async with serving(client):
        handle = await gathering.enqueue(client, 2, [])
        await handle.send(approved, "a")

        async def is_second() -> bool:
            return (await handle.status()).generation == 1

        await wait_until(is_second, what="the second generation")
        await handle.pause()
        await handle.send(approved, "b")
        await wait_until(lambda: _is(handle, State.PAUSED), what="the pause")
        await handle.resume()
        assert await handle.result(timeout=ENOUGH) == ["a", "b"]


async def _is(handle: Any, state: State) -> bool:
    return (await handle.status()).state is state
