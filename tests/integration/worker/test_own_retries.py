"""A workflow's own retry on real servers: whoever waits waits on, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki import (
    ChildFailed,
    Client,
    Event,
    Fatal,
    Handle,
    Retry,
    RunFailed,
    State,
    TaskFailed,
    Worker,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

ONCE = Retry.none()
SOON = Retry.fixed(3, "50ms")
LATE = Retry.fixed(3, "1h")
done: list[tuple[str, str]] = []
"""Names of tasks with the keys under which they were done."""
fails: dict[str, int] = {}
"""How often a task fails from now on."""
approved = Event("approved", type=str)


@task(retry=ONCE)
async def pay(name: str) -> str:
    if fails.get(name, 0):
        fails[name] -= 1
        raise ValueError(f"{name} is broken")
    done.append((name, task_run().idempotency_key))
    return name


@workflow(retry=SOON)
async def order(run: WorkflowRun) -> list[Any]:
    return [*[await pay.run(run, name) for name in ("reserve", "charge", "ship")], run.attempt, run.generation]


@workflow(retry=SOON, retry_from="start")
async def from_start(run: WorkflowRun) -> list[Any]:
    return [*[await pay.run(run, name) for name in ("reserve", "charge")], run.attempt, run.generation]


@workflow(retry=LATE)
async def patient(run: WorkflowRun) -> list[Any]:
    before = run.now()
    name = await pay.run(run, "charge")
    await run.sleep("10ms")
    return [name, run.attempt, (run.now() - before).total_seconds() < 60]


@workflow
async def part(run: WorkflowRun) -> list[Any]:
    return [await pay.run(run, "reserve"), await pay.run(run, "charge"), run.attempt]


@workflow(retry=SOON)
async def whole(run: WorkflowRun) -> list[Any]:
    return [await part.run(run), run.attempt]


@workflow(retry=SOON)
async def waits(run: WorkflowRun) -> list[Any]:
    found = await asyncio.gather(pay.run(run, "charge"), run.wait_for(approved))
    return [*found, run.attempt]


@workflow(retry=Retry.fixed(9, "50ms", never_on=TaskFailed))
async def picky(run: WorkflowRun) -> str:
    return await pay.run(run, "charge")


FLOWS: list[Any] = [order, from_start, patient, part, whole, waits, picky]


@pytest.fixture(autouse=True)
def afresh() -> None:
    done.clear()
    fails.clear()


async def until(handle: Handle[Any], state: State) -> Any:
    async def is_so() -> Any:
        status = await handle.status()
        return status if status.state is state else None

    return await wait_until(is_so, what=f"the run is not {state}")


async def moves(client: Client, handle: Handle[Any]) -> list[str]:
    return [item.move async for item in client.runs.history(handle.run_id)]


async def test_a_run_is_tried_again_from_its_failure_and_who_waits_for_it_waits_on(client: Client) -> None:
    fails["charge"] = 2
    async with Worker(client, workflows=FLOWS):
        handle = await order.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == ["reserve", "charge", "ship", 3, 0]
    assert [name for name, _ in done] == ["reserve", "charge", "ship"]
    status = await handle.status()
    assert (status.attempt, status.tasks, status.error) == (3, 3, None)
    assert (await moves(client, handle)).count("again") == 2


async def test_a_run_from_its_start_pays_anew_under_other_keys(client: Client) -> None:
    fails["charge"] = 1
    async with Worker(client, workflows=FLOWS):
        handle = await from_start.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == ["reserve", "charge", 2, 1]
    assert [name for name, _ in done] == ["reserve", "reserve", "charge"]
    assert len(set(done)) == 3


async def test_a_retrying_run_says_why_and_a_person_may_cut_the_wait_short(client: Client) -> None:
    fails["charge"] = 1
    async with Worker(client, workflows=FLOWS):
        handle = await patient.enqueue(client)
        status = await until(handle, State.RETRYING)
        assert (status.attempt, status.due_at is not None) == (2, True)
        assert status.why is not None
        assert status.why.startswith("begins attempt 2")
        assert status.why.endswith(
            ": attempt 1 failed: TaskFailed: task 'pay' failed once: ValueError: charge is broken"
        )
        await handle.resume()
        assert await handle.result(timeout=ENOUGH) == ["charge", 2, True], "time goes on from then"


async def test_a_run_that_goes_on_failing_fails_with_its_last_error(client: Client) -> None:
    fails["charge"] = 9
    async with Worker(client, workflows=FLOWS):
        handle = await order.enqueue(client)
        with pytest.raises(RunFailed, match="charge is broken"):
            await handle.result(timeout=ENOUGH)
    assert (await handle.status()).attempt == 3
    assert fails["charge"] == 6


async def test_what_is_said_at_its_enqueue_comes_first(client: Client) -> None:
    fails["charge"] = 2
    async with Worker(client, workflows=FLOWS):
        with pytest.raises(RunFailed):
            await (await order.options(retry=Retry.none()).enqueue(client)).result(timeout=ENOUGH)
        fails["charge"] = 2
        handle = await picky.options(retry=Retry.fixed(3, "50ms", only_on=TaskFailed)).enqueue(client)
        assert await handle.result(timeout=ENOUGH) == "charge"
        fails["charge"] = 1
        with pytest.raises(RunFailed):
            await (await picky.options(retry=Retry.fixed(3, "50ms", only_on=Fatal)).enqueue(client)).result()
        fails["charge"] = 1
        named = await client.enqueue("order", {}, version="1")
        assert (await named.result(timeout=ENOUGH))[3] == 2


async def test_a_child_that_failed_goes_on_with_its_parent_and_pays_once(client: Client) -> None:
    fails["charge"] = 2
    async with Worker(client, workflows=FLOWS):
        handle = await whole.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == [["reserve", "charge", 3], 3]
    assert [name for name, _ in done] == ["reserve", "charge"]


async def test_an_event_that_came_behind_the_cut_is_taken_by_the_attempt_that_gets_there(client: Client) -> None:
    fails["charge"] = 2
    async with Worker(client, workflows=FLOWS):
        handle = await waits.options(retry=LATE).enqueue(client)
        await until(handle, State.RETRYING)
        await handle.send(approved, "alice")
        for _ in range(2):
            await until(handle, State.RETRYING)
            await handle.resume()
            await wait_until(lambda: _is_past(handle), what="it does not go on")
        assert await handle.result(timeout=ENOUGH) == ["charge", "alice", 3]


async def _is_past(handle: Handle[Any]) -> bool:
    return (await handle.status()).claims > 1


async def test_a_cancel_ends_the_wait_for_the_next_attempt(client: Client) -> None:
    fails["charge"] = 1
    async with Worker(client, workflows=FLOWS):
        handle = await patient.enqueue(client)
        await until(handle, State.RETRYING)
        await handle.cancel(wait=ENOUGH)
        assert (await handle.status()).state is State.CANCELLED
    assert done == []


async def test_another_worker_goes_on_where_the_first_has_failed(client: Client) -> None:
    fails["charge"] = 1
    async with Worker(client, workflows=FLOWS, id="one"):
        handle = await patient.enqueue(client)
        await until(handle, State.RETRYING)
    async with Worker(client, workflows=FLOWS, id="two"):
        await handle.resume()
        assert (await handle.result(timeout=ENOUGH))[:2] == ["charge", 2]


async def test_a_parent_without_a_retry_hears_that_its_child_has_failed_for_good(client: Client) -> None:
    @workflow
    async def asks(run: WorkflowRun) -> str:
        try:
            return str(await order.run(run))
        except ChildFailed as error:
            return error.message

    fails["charge"] = 9
    async with Worker(client, workflows=[asks, order]):
        handle = await asks.enqueue(client)
        assert "charge is broken" in await handle.result(timeout=ENOUGH)
    assert fails["charge"] == 6, "when all of its attempts have"
