"""Servers that go away and come back, and how soon the work goes on (P6, with room for a busy machine)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from aiki import Client, Unavailable
from aiki.wire.messages import Status
from tests.chaos.cluster import Cluster
from tests.chaos.flows import fan, held, nap
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

SLACK = 2.0
"""Seconds on top of what is promised: two cores run all servers, workers and the test."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Fail if the block takes longer than promised, and SLACK."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds + SLACK, f"{what} took {took:.2f} s, promised are {seconds:g} s"


async def enqueue_held(cluster: Cluster, client: Client, gate: str) -> str:
    """Enqueue a run that stops at the gate, and wait until a worker has it there."""
    handle = await held.enqueue(client, gate)
    cluster.expected.results[handle.run_id] = 2
    await wait_until(lambda: cluster.begun(gate), what="a worker at the gate")
    return handle.run_id


async def test_a_killed_workers_runs_go_on_within_the_lease_and_a_second(served: Cluster) -> None:
    victim = served.worker()
    async with served.client() as client:
        await enqueue_held(served, client, "gate")
        survivor = served.worker()
        with within(1.5 + 1.0, "taking over"):
            victim.kill9()
            await wait_until(lambda: survivor.name in served.begun("gate"), what="the take-over")
        served.open("gate")
        summary = await served.finish(client)
    assert summary.takeovers == 1
    assert summary.repeats == 1


async def test_a_drained_workers_runs_go_on_within_a_second(served: Cluster) -> None:
    leaver = served.worker("", "--lease", "30s", "--drain", "100ms")
    async with served.client() as client:
        await enqueue_held(served, client, "gate")
        survivor = served.worker()
        served.expected.drained.add(leaver.name)
        with within(1.0 + 0.1, "handing over"):
            leaver.drain()
            await wait_until(lambda: survivor.name in served.begun("gate"), what="the take-over")
        assert leaver.wait() == 0
        served.open("gate")
        summary = await served.finish(client)
    assert summary.takeovers == 0


async def test_a_drain_lets_tasks_end_and_gives_back_the_rest_at_once(served: Cluster) -> None:
    leaver = served.worker("", "--lease", "30s", "--linger", "60s", "--drain", "20s")
    async with served.client() as client:
        await enqueue_held(served, client, "gate")
        sleeper = await nap.enqueue(client, 30_000)
        await wait_until(lambda: served.state_of(sleeper.run_id) == "running", what="the nap's claim")
        leaver.drain()
        await wait_until(lambda: served.state_of(sleeper.run_id) == "sleeping", 1.0 + SLACK, what="leaving memory")
        assert leaver.running, "a task is still at the gate"
        served.worker()
        served.open("gate")
        assert leaver.wait() == 0
        assert await client.handle(next(iter(served.expected.results))).result(timeout=ENOUGH) == 2
    starts = [effect.key for effect in served.effects() if effect.event == "start"]
    assert len(starts) == len(set(starts)) == 3


async def test_wiping_nats_under_load_loses_nothing(cluster: Cluster) -> None:
    cluster.aikids("", "")
    for _ in range(2):
        cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 16)
        cluster.nats.wipe()
        with within(5.0, "going on without NATS's data"):
            handle = await cluster.enqueue(client)
            await handle.result()
        await cluster.load(client, 32)
        await anyio.to_thread.run_sync(cluster.nats.restart)
        await cluster.load(client, 40)
        await cluster.finish(client)


async def test_without_jetstream_all_runs_complete_by_direct_claims(cluster: Cluster) -> None:
    cluster.stop_jetstream()
    cluster.aikid()
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 24)
        with within(10.0, "claiming directly"):
            await cluster.finish(client)


async def test_postgres_killed_under_load(cluster: Cluster) -> None:
    cluster.aikids("", "")
    for _ in range(2):
        cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 16)
        cluster.postgres.kill9()
        with pytest.raises(Unavailable):
            await client.transport.call(Status([next(iter(cluster.expected.results))]), seconds=1.0)
        cluster.postgres.start()
        with within(2.0, "going on after Postgres is back"):
            handle = await cluster.enqueue(client)
            await handle.result()
        await cluster.load(client, 24)
        await cluster.finish(client)


async def test_an_enqueue_waits_for_postgres(cluster: Cluster) -> None:
    cluster.aikid()
    cluster.worker()
    async with cluster.client() as client:
        cluster.postgres.stop()
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(cluster.enqueue, client)
            cluster.postgres.start()
        await cluster.finish(client)


async def test_a_daemon_killed_and_started_again_is_enough(cluster: Cluster) -> None:
    only = cluster.aikid()
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 12)
        only.kill9()
        async with anyio.create_task_group() as group:
            group.start_soon(cluster.load, client, 16)
            await anyio.to_thread.run_sync(only.start)
        await cluster.finish(client)


async def test_a_daemon_that_stops_cleanly_loses_no_request(cluster: Cluster) -> None:
    leaver, _ = cluster.aikids("", "")
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 12)
        async with anyio.create_task_group() as group:
            group.start_soon(cluster.load, client, 40)
            assert await anyio.to_thread.run_sync(leaver.terminate) == 0
        await cluster.finish(client)


async def test_a_lost_session_is_replaced_and_its_runs_go_on(served: Cluster) -> None:
    worker = served.worker()
    async with served.client() as client:
        await enqueue_held(served, client, "gate")
        served.query("UPDATE aiki.sessions SET closed_at = now(), expires_at = now() WHERE namespace = %(ns)s")
        await wait_until(lambda: "was lost" in worker.logged(), what="the worker's notice of its lost session")
        served.open("gate")
        await served.load(client, 8)
        summary = await served.finish(client)
    assert summary.takeovers > 0


async def test_a_short_sleep_is_short(served: Cluster) -> None:
    """100 ms under default settings, and through the waker (the run leaves memory at once)."""
    async with served.client() as client:
        for arguments in (["--lease", "30s", "--linger", "10s"], ["--lease", "30s", "--linger", "0s"]):
            worker = served.worker("", *arguments)
            await (await nap.enqueue(client, 1)).result()
            began = time.monotonic()
            slept = await (await nap.enqueue(client, 100)).result()
            took = time.monotonic() - began
            assert slept >= 100
            assert 0.1 <= took < 1.0
            assert worker.terminate() == 0


async def test_a_fan_out_of_500_tasks_survives_a_kill(served: Cluster) -> None:
    victim = served.worker("task.after_body=kill@200")
    async with served.client() as client:
        handle = await fan.enqueue(client, 500)
        served.expected.results[handle.run_id] = sum(range(500))
        await wait_until(lambda: not victim.running, what="the kill")
        served.worker()
        summary = await served.finish(client)
    assert 500 <= summary.starts <= 500 + summary.repeats
