"""Tasks that share their keys with other runs, by workers on real servers: what conformance cannot force."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import pytest

from aiki import Client, Conflict, State, Worker, WorkflowRun, task, task_run, workflow
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

begun: list[str] = []
seen: set[str] = set()
gate = threading.Event()


@pytest.fixture(autouse=True)
def begin() -> None:
    begun.clear()
    seen.clear()
    gate.clear()


@task(idempotency_scope="namespace", cancel_grace="300ms")
def hold(order: str) -> str:
    begun.append(task_run().run_id)
    seen.add(task_run().idempotency_key)
    gate.wait()
    return f"{order} by {len(begun)}"


@workflow
async def gives_up(run: WorkflowRun) -> str:
    try:
        async with asyncio.timeout(0.2):
            return await hold.options(idempotency_key="k").run(run, "o")
    except TimeoutError:
        return "gave up"


@workflow
async def has_time(run: WorkflowRun) -> str:
    try:
        async with asyncio.timeout(0.2):
            return await hold.options(idempotency_key="k", cancel_grace="1m").run(run, "o")
    except TimeoutError:
        return "gave up"


@workflow
async def holds(run: WorkflowRun) -> str:
    return await hold.options(idempotency_key="k").run(run, "o")


@workflow
async def holds_another(run: WorkflowRun) -> str:
    try:
        return await hold.options(idempotency_key="k").run(run, "another")
    except Conflict as error:
        return error.message


async def test_nobody_starts_while_a_thread_runs_that_outlives_its_cancel_and_its_run(client: Client) -> None:
    async with Worker(client, workflows=[gives_up], id="first", drain="0s"):
        first = await gives_up.enqueue(client)
        assert await first.result(timeout="20s") == "gave up"
        second = await holds.enqueue(client)
        async with Worker(client, workflows=[holds], id="second", linger="0s"):
            await wait_until(lambda: is_(client, second.run_id, State.WAITING))
            await asyncio.sleep(2.5)  # the daemon has looked at who waits by then, which it does each second
            assert begun == [first.run_id]
            gate.set()  # its thread has ended, and still its session may have other threads of it: nobody can tell
            assert begun == [first.run_id]
            assert (await second.status()).state is State.WAITING
        gate.clear()
    async with Worker(client, workflows=[holds], id="third"):
        await wait_until(lambda: len(begun) == 2)
        gate.set()
        assert await second.result(timeout="20s") == "o by 2"
    assert begun == [first.run_id, second.run_id]
    assert len(seen) == 1


async def test_a_thread_that_ends_within_its_grace_hands_its_key_on_with_the_end_of_its_run(client: Client) -> None:
    async with Worker(client, workflows=[has_time, holds]):
        first = await has_time.enqueue(client)
        await wait_until(lambda: len(begun) == 1)
        second = await holds.enqueue(client)
        await asyncio.sleep(0.5)
        assert (await first.status()).state is State.RUNNING, "its claim waits for the thread"
        gate.set()
        assert await first.result(timeout="20s") == "gave up"
        assert await second.result(timeout="20s") == "o by 2"


async def test_what_the_task_sees_is_made_of_the_namespace_too(client: Client, namespace: str) -> None:
    gate.set()
    async with Worker(client, workflows=[holds, holds_another]):
        first = await holds.enqueue(client)
        assert await first.result(timeout="20s") == "o by 1"
        said = f"namespace:{namespace}:task:hold@k".encode()
        assert seen == {hashlib.blake2b(said, digest_size=16).hexdigest()}
        other = await holds_another.enqueue(client)
        assert await other.result(timeout="20s") == (
            f"idempotency key 'k' of task 'hold' stands for another input, in run {first.run_id} of this namespace"
        )


async def test_a_worker_that_drains_in_the_task_brings_its_result_to_all_who_wait(client: Client) -> None:
    async with Worker(client, workflows=[holds], id="first", drain="20s"):
        first = await holds.enqueue(client)
        await wait_until(lambda: len(begun) == 1)
        async with Worker(client, workflows=[holds], id="second"):
            others = [await holds.enqueue(client) for _ in range(3)]
            await wait_until(lambda: is_(client, others[-1].run_id, State.RUNNING, State.WAITING))
            asyncio.get_running_loop().call_later(0.3, gate.set)
    async with Worker(client, workflows=[holds], id="third"):
        assert {await one.result(timeout="20s") for one in (first, *others)} == {"o by 1"}
    assert len(begun) == 1


async def is_(client: Client, run_id: str, *states: State) -> bool:
    return (await client.handle(run_id).status()).state in states
