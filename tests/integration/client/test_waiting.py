"""Waiting for runs: results, pushes, what happens when a push is lost, and the blocking client."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import anyio
import pytest

from aiki import (
    Client,
    Fatal,
    NotFound,
    RunFailed,
    State,
    Unavailable,
    UsageError,
    WaitTimeout,
    Worker,
    WorkflowRun,
    task,
    workflow,
)
from aiki.nats import Away
from tests.servers import Aikid, Aikids, Nats, free_port
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio


@task
async def fail(message: str) -> None:
    raise Fatal(message)


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


@workflow
async def failing(run: WorkflowRun) -> None:
    await fail.run(run, "no such card")


@workflow
async def naps(run: WorkflowRun) -> str:
    await run.sleep("50ms")
    return "rested"


@workflow
async def nobody_serves(run: WorkflowRun) -> None:
    pass


async def test_many_results_are_waited_for_at_once(client: Client) -> None:
    handles = await client.enqueue_many(echo.bind(str(n)) for n in range(300))
    async with Worker(client, workflows=[echo]):
        with anyio.fail_after(patient(20)):
            assert await asyncio.gather(*(handle.result() for handle in handles)) == [str(n) for n in range(300)]


async def test_a_failed_run_raises_with_its_story(client: Client) -> None:
    async with Worker(client, workflows=[failing]):
        handle = await failing.enqueue(client)
        with pytest.raises(RunFailed, match="no such card") as caught:
            await handle.result(timeout=ENOUGH)
    assert caught.value.run_id == handle.run_id
    assert caught.value.type == "TaskFailed"
    assert "failing" in caught.value.traceback
    status = await handle.status()
    assert status.state is State.FAILED
    assert status.error is not None


async def test_a_wait_ends_at_the_callers_own_deadline(client: Client) -> None:
    handle = await nobody_serves.enqueue(client)
    with pytest.raises(WaitTimeout, match=handle.run_id):
        await handle.result(timeout="50ms")
    assert (await handle.status()).state is State.QUEUED


async def test_watch_yields_each_change_and_ends_with_the_run(client: Client) -> None:
    handle = await naps.enqueue(client)
    with anyio.fail_after(patient(20)):
        async with Worker(client, workflows=[naps], linger="0s"):
            seen = [status.state async for status in handle.watch()]
    assert seen[-1] is State.COMPLETED
    assert State.SLEEPING in seen
    assert all(before is not after or before is State.RUNNING for before, after in pairwise(seen))


async def test_an_unknown_run_is_not_found(client: Client) -> None:
    missing = client.handle("01890a5d-ac96-774b-bcce-b302099a8057")
    for asked in (missing.status, missing.result):
        with pytest.raises(NotFound):
            await asked()
    with pytest.raises(UsageError):
        client.handle("no-id")


async def test_a_push_that_its_daemon_takes_to_the_grave_costs_seconds(
    start_aikid: Aikids, nats: Nats, namespace: str
) -> None:
    daemon = start_aikid()
    async with Client.connect(nats.url, namespace=namespace) as client:
        handle = await echo.enqueue(client, "still here")
        results: list[str] = []

        async def wait() -> None:
            results.append(await handle.result(timeout=ENOUGH))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.to_thread.run_sync(daemon.kill9)
            await anyio.to_thread.run_sync(daemon.start)
            began = time.monotonic()
            group.start_soon(_serve_until, client, results)
        assert results == ["still here"]
        assert time.monotonic() - began < patient(10.0)


async def _serve_until(client: Client, results: list[str]) -> None:
    async with Worker(client, workflows=[echo]):
        while not results:  # noqa: ASYNC110 - bounded by the wait for the result
            await anyio.sleep(0.01)


async def test_without_servers_connecting_says_so_soon() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        async with Client.connect(f"nats://127.0.0.1:{free_port()}"):
            pass


async def test_without_a_daemon_connecting_says_so_soon(nats: Nats) -> None:
    with pytest.raises(Unavailable, match="no aikid serves"):
        async with Client.connect(nats.url, namespace="nobody"):
            pass


async def test_the_blocking_client_needs_no_loop(aikid: Aikid, namespace: str, client: Client) -> None:
    def script() -> list[str]:
        with Client.blocking(aikid.nats_url, namespace=namespace) as blocking:
            one = blocking.enqueue(echo.bind("a"))
            many = blocking.enqueue_many([echo.bind("b"), echo.bind("c")])
            results = [handle.result(timeout=ENOUGH) for handle in (one, *many)]
            assert one.status().state is State.COMPLETED
            assert [status.state for status in blocking.handle(one.run_id).watch()] == [State.COMPLETED]
            return results

    async with Worker(client, workflows=[echo]):
        assert await anyio.to_thread.run_sync(script) == ["a", "b", "c"]


async def test_a_push_that_was_lost_with_the_connection_is_asked_for_when_it_is_back(
    aikid: Aikid, namespace: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiki.client.waits.POLL_SECONDS", 600.0)  # so that nothing else would ask
    handle = await echo.enqueue(client, "told to nobody")
    waiting = asyncio.create_task(handle.result(timeout=ENOUGH))
    await wait_until(lambda: client._waits._ends)
    nats, told_to_nobody = client.transport._nats, asyncio.Event()
    try_again = nats._try_again

    async def try_again_later() -> None:
        await told_to_nobody.wait()
        await try_again()

    monkeypatch.setattr(nats, "_try_again", try_again_later)
    assert nats._link is not None
    nats._link.abort(Away("cut by the test"))
    async with Client.connect(aikid.nats_url, namespace=namespace) as other, Worker(other, workflows=[echo]):
        await other.handle(handle.run_id).result(timeout=ENOUGH)
        assert not nats.connected, "the run was to end while nobody could be told"
        told_to_nobody.set()
        assert await waiting == "told to nobody"
