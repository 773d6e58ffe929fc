"""A person's retry on real servers: what was done is not done again, and whoever waits gets to the run that goes on."""

from __future__ import annotations

import pytest

from aiki import Client, Retry, RunFailed, State, Worker, WorkflowRun, task, task_run, workflow

pytestmark = pytest.mark.anyio

ONCE = Retry.none()
done: list[tuple[str, str]] = []
"""Names of tasks with the keys under which they were done."""
broken: set[str] = set()


def note(name: str) -> str:
    """Do what the task of this name is there for."""
    if name in broken:
        raise ValueError(f"{name} is broken")
    done.append((name, task_run().idempotency_key))
    return name


@task(retry=ONCE)
async def reserve() -> str:
    return note("reserve")


@task(retry=ONCE)
async def charge() -> str:
    return note("charge")


@task(retry=ONCE)
async def ship() -> str:
    return note("ship")


@workflow
async def order(run: WorkflowRun) -> list[str]:
    return [await reserve.run(run), await charge.run(run), await ship.run(run)]


@pytest.fixture(autouse=True)
def afresh() -> None:
    done.clear()
    broken.clear()


def names() -> list[str]:
    return [name for name, _ in done]


async def test_a_run_that_failed_goes_on_at_what_failed_it_and_does_nothing_twice(client: Client) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[order]):
        old = await client.enqueue(order.bind())
        with pytest.raises(RunFailed, match="ship is broken"):
            await old.result(timeout="20s")
        broken.clear()
        new = await old.retry()
        assert await new.result(timeout="20s") == ["reserve", "charge", "ship"]
        assert names() == ["reserve", "charge", "ship"]
        assert await old.result() == await new.result()
        status = await old.status()
    assert (status.run_id, status.retry_of, status.state) == (new.run_id, old.run_id, State.COMPLETED)
    assert (status.attempt, status.tasks) == (2, 3)
