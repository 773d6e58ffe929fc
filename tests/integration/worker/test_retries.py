"""A person's retry on real servers: what was done is not done again, and whoever waits gets to the run that goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki import (
    Client,
    Conflict,
    Event,
    Handle,
    PayloadError,
    Retry,
    RunFailed,
    RunFilter,
    RunStatus,
    RunTimedOut,
    State,
    UsageError,
    Worker,
    WorkflowRun,
    task,
    task_run,
    workflow,
)
from tests.servers import Aikid
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

ONCE = Retry.none()
approved, settled = Event("approved", type=str), Event("settled")
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


async def test_what_is_done_again_is_done_under_its_first_key_and_under_another_only_from_the_start(
    client: Client,
) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[order]):
        old = await client.enqueue(order.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        with pytest.raises(Conflict, match="has completed charge since"):
            await old.retry(from_task="reserve")
        again = await old.retry(from_task="reserve", force=True)
        with pytest.raises(RunFailed):
            await again.result(timeout="20s")
        assert names() == ["reserve", "charge"] * 2
        assert len(set(done)) == 2, "each under its first key"
        broken.clear()
        anew = await again.retry(from_start=True)
        assert await anew.result(timeout="20s") == ["reserve", "charge", "ship"]
    assert len(set(done)) == 5


@workflow
async def together(run: WorkflowRun) -> list[str]:
    try:
        return list(await asyncio.gather(charge.run(run), reserve.run(run), ship.run(run)))
    finally:
        await run.wait_for(settled)


async def test_siblings_that_succeeded_are_not_done_again_and_one_retry_tries_all_that_failed(client: Client) -> None:
    broken.update(("charge", "ship"))
    async with Worker(client, workflows=[together]):
        old = await client.enqueue(together.bind())
        await wait_until(lambda: _tasks(old, 3), what="the siblings have not ended")
        await old.send(settled)
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        new = await old.retry()
        await old.send(settled)
        assert sorted(await new.result(timeout="20s")) == ["charge", "reserve", "ship"]
    assert sorted(names()) == ["charge", "reserve", "ship"]


async def _tasks(handle: Handle[Any], count: int) -> bool:
    return (await handle.status()).tasks == count


@workflow
async def approving(run: WorkflowRun) -> str:
    who = await run.wait_for(approved)
    await charge.run(run)
    return f"{who}, {await run.wait_for(approved)}"


async def test_a_retry_has_taken_what_came_before_and_is_sent_what_comes_to_the_old_run(client: Client) -> None:
    broken.add("charge")
    async with Worker(client, workflows=[approving]):
        old = await client.enqueue(approving.bind())
        await old.send(approved, "alice")
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        await old.retry()
        await old.send(approved, "bob")
        assert await old.result(timeout="20s") == "alice, bob"


@workflow
async def part(run: WorkflowRun, name: str) -> str:
    return await {"charge": charge, "ship": ship}[name].run(run)


@workflow
async def whole(run: WorkflowRun) -> list[str]:
    await reserve.run(run)
    return [await part.run(run, "charge"), await part.run(run, "ship")]


async def test_a_failed_child_is_retried_with_its_parent_and_its_siblings_results_stand(client: Client) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[whole, part]):
        old = await client.enqueue(whole.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        new = await retried_when_settled(old)
        assert await new.result(timeout="20s") == ["charge", "ship"]
    assert names() == ["reserve", "charge", "ship"]


async def retried_when_settled(handle: Handle[Any]) -> Handle[Any]:
    """Retry a run as soon as its children have ended."""
    made: list[Handle[Any]] = []

    async def retried() -> bool:
        try:
            made.append(await handle.retry())
        except Conflict as error:
            if "still being cancelled" not in str(error):
                raise
        return bool(made)

    await wait_until(retried, what="children are still being cancelled")
    return made[0]


async def test_a_cancelled_run_goes_on_from_where_it_was_told(client: Client) -> None:
    async with Worker(client, workflows=[approving]):
        old = await client.enqueue(approving.bind())
        await wait_until(lambda: _waits(old), what="the run does not wait")
        await old.cancel(wait="20s")
        new = await old.retry()
        await old.send(approved, "alice")
        await new.send(approved, "bob")
        assert await old.result(timeout="20s") == "alice, bob"


async def _waits(handle: Handle[Any]) -> bool:
    return (await handle.status()).started_at is not None


async def test_a_retry_is_one_whoever_asks_and_many_are_retried_by_what_they_are(client: Client) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[order]):
        labelled = order.options(labels={"batch": "b"})
        old = [await client.enqueue(labelled.bind()) for _ in range(3)]
        for handle in old:
            with pytest.raises(RunFailed):
                await handle.result(timeout="20s")
        broken.clear()
        first = await old[0].retry()
        again = await old[0].retry()
        assert (again.run_id, first.created, again.created) == (first.run_id, True, False)
        outcomes = await client.runs.retry_batch(RunFilter(labels={"batch": "b"}), limit=1, per_second=100)
        outcomes = [*outcomes, *await client.runs.retry_batch(RunFilter(labels={"batch": "b"}))]
        assert [one.retry_of for one in outcomes if isinstance(one, RunStatus)] == [old[2].run_id, old[1].run_id]
        for handle in old:
            assert await handle.result(timeout="20s") == ["reserve", "charge", "ship"]


async def test_a_keyed_enqueue_retries_what_failed(client: Client) -> None:
    broken.add("ship")
    keyed = order.options(idempotency_key="k", on_conflict="retry_failed")
    async with Worker(client, workflows=[order]):
        old = await client.enqueue(keyed.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        new = await client.enqueue(keyed.bind())
        assert await new.result(timeout="20s") == ["reserve", "charge", "ship"]
        assert (await client.enqueue(keyed.bind())).run_id == new.run_id
        status = await old.status()
    assert (status.run_id, status.attempt) == (new.run_id, 2)
    assert names() == ["reserve", "charge", "ship"]


async def test_another_input_begins_anew(client: Client) -> None:
    async with Worker(client, workflows=[part]):
        old = await client.enqueue(part.bind("nothing"))
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        with pytest.raises(UsageError, match="one of workflow part"):
            await old.retry(input=order.bind())  # type: ignore[arg-type]  # the mistake
        with pytest.raises(PayloadError):
            await old.retry(input={"name": 5})
        new = await old.retry(input=part.bind("ship"))
        assert await new.result(timeout="20s") == "ship"
        assert await old.result() == "ship"


async def test_a_run_that_timed_out_has_its_whole_timeout_again(client: Client) -> None:
    async with Worker(client, workflows=[approving]):
        old = await client.enqueue(approving.options(timeout="1s").bind())
        with pytest.raises(RunTimedOut):
            await old.result(timeout="20s")
        new = await old.retry()
        await old.send(approved, "alice")
        await old.send(approved, "bob")
        assert await new.result(timeout="20s") == "alice, bob"
        status = await new.status()
    assert status.deadline is not None
    assert status.deadline > status.created_at


@task(at_most_once=True)
async def pay() -> str:
    return note("pay")


@workflow
async def paying(run: WorkflowRun) -> str:
    return await pay.run(run)


async def test_what_may_begin_but_once_begins_again_only_where_that_is_said(client: Client) -> None:
    broken.add("pay")
    async with Worker(client, workflows=[paying]):
        old = await client.enqueue(paying.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        with pytest.raises(Conflict, match="may not begin pay twice") as refused:
            await old.retry(force=True)
        assert refused.value.command == f"aiki run retry {old.run_id} --again pay"
        new = await old.retry(again="pay")
        assert await new.result(timeout="20s") == "pay"
    assert names() == ["pay"]


async def test_whoever_watches_a_run_that_was_retried_sees_the_retry_end(client: Client) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[order]):
        old = await client.enqueue(order.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        new = await old.retry()
        seen = [status async for status in old.watch()]
    assert {status.run_id for status in seen} == {new.run_id}
    assert (seen[-1].state, seen[-1].retry_of) == (State.COMPLETED, old.run_id)


async def test_a_script_retries_a_run(client: Client, aikid: Aikid, namespace: str) -> None:
    broken.add("ship")

    def script() -> list[str]:
        with Client.blocking(aikid.nats_url, namespace=namespace) as blocking:
            old = blocking.enqueue(order.bind())
            with pytest.raises(RunFailed):
                old.result(timeout="20s")
            broken.clear()
            assert old.retry().result(timeout="20s") == ["reserve", "charge", "ship"]
            assert blocking.runs.retry(old.run_id).retry_of == old.run_id
            (outcome,) = blocking.runs.retry_batch([old.run_id], per_second=10)
            assert isinstance(outcome, RunStatus)
            return old.result()

    async with Worker(client, workflows=[order]):
        assert await asyncio.to_thread(script) == ["reserve", "charge", "ship"]


@workflow
async def slow(run: WorkflowRun) -> str:
    await reserve.run(run)
    await run.wait_for(settled)
    return "slow"


@workflow
async def both(run: WorkflowRun) -> list[str]:
    return list(await asyncio.gather(slow.run(run), part.run(run, "ship")))


async def test_a_child_that_was_cancelled_since_its_sibling_failed_goes_on_too(client: Client) -> None:
    broken.add("ship")
    async with Worker(client, workflows=[both, slow, part]):
        old = await client.enqueue(both.bind())
        with pytest.raises(RunFailed):
            await old.result(timeout="20s")
        broken.clear()
        new = await retried_when_settled(old)
        children = (await client.runs.list(parent=old.run_id)).runs
        (cancelled,) = [child for child in children if child.workflow == "slow"]
        assert (cancelled.state, cancelled.retried_by is not None) == (State.CANCELLED, True)
        await slow.handle(client, cancelled.run_id).send(settled)
        assert await new.result(timeout="20s") == ["slow", "ship"]
        family = {child.workflow: child for child in (await client.runs.list(parent=new.run_id)).runs}
        assert {name: child.parent_id for name, child in family.items()} == {"slow": new.run_id, "part": new.run_id}
    assert sorted(names()) == ["reserve", "ship"]
