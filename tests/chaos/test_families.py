"""Families while everything is killed: every child accounted for, none twice, and no parent that waits for ever."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from aiki import Client, Handle, RunFailed, State
from tests.chaos.cluster import OPEN_RUNS, PATIENCE, Cluster
from tests.chaos.families import family, family_result, ordered, regretted_family
from tests.servers import Postgres, Program
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

DAEMON_POINTS = [
    "record.before_commit",
    "record.before_reply",
    "errand.before_commit",
    "errand.before_tell",
    "news.before_push",
]
WIDTH = 3
LEASES = ["1s", *(["3s", "10s", "30s"] if os.environ.get("CHAOS_LONG") else [])]


@asynccontextmanager
async def families(cluster: Cluster, client: Client, *, depth: int, least: int = 4) -> AsyncIterator[None]:
    """Have families lived while the block goes on: a new one as soon as another has come to its end."""
    over = anyio.Event()

    async def go_on(lane: int) -> None:
        n = lane
        while n < least or not over.is_set():
            handle = await family.enqueue(client, n, WIDTH, depth)
            cluster.expected.results[handle.run_id] = family_result(n, WIDTH, depth)
            await handle.result()
            n += 2

    with anyio.fail_after(patient(2 * PATIENCE)):
        async with anyio.create_task_group() as group:
            for lane in range(2):
                group.start_soon(go_on, lane)
            yield
            over.set()


async def dies(program: Program | Postgres) -> None:
    """Kill it and start it again."""
    await anyio.to_thread.run_sync(program.kill9)
    await anyio.to_thread.run_sync(program.start)


def steps(cluster: Cluster) -> int:
    """Return how many tasks have begun."""
    return sum(effect.event == "start" for effect in cluster.effects())


async def goes_on(cluster: Cluster, more: int = 30) -> None:
    """Wait until so many more tasks have begun."""
    goal = steps(cluster) + more
    try:
        await wait_until(partial(lambda goal: steps(cluster) >= goal, goal), PATIENCE)
    except AssertionError:
        raise AssertionError(f"nothing goes on: {cluster.query(OPEN_RUNS)[:5]}") from None


@pytest.mark.parametrize("lease", LEASES)
async def test_nobody_of_a_family_is_lost_whatever_is_killed(cluster: Cluster, lease: str) -> None:
    first, second = cluster.aikids("", "")
    workers = [cluster.worker("", "--lease", lease, "--linger", linger) for linger in ("1s", "20ms")]
    async with cluster.client() as client:
        async with families(cluster, client, depth=2):
            for victim in (workers[0], first, workers[1], second, cluster.postgres):
                await goes_on(cluster)
                await dies(victim)
        summary = await cluster.finish(client)
    assert summary.takeovers > 0


async def test_a_daemon_killed_at_each_hop_of_what_families_are_told(served: Cluster) -> None:
    victim = served.aikid(",".join(f"{point}=kill@5" for point in DAEMON_POINTS))
    served.worker("", "--lease", "1s")
    async with served.client() as client:
        async with families(served, client, depth=1):
            while not all(map(served.reached, DAEMON_POINTS)):
                await wait_until(lambda: not victim.running, PATIENCE, what="the next kill")
                await anyio.to_thread.run_sync(victim.start)
        await served.finish(client)


async def test_a_cancel_takes_the_family_along_whoever_is_killed(cluster: Cluster) -> None:
    aikids = cluster.aikids("errand.before_commit=kill@2", "")
    workers = [cluster.worker("", "--lease", "1s", "--linger", linger) for linger in ("1s", "20ms")]
    async with cluster.client() as client:
        told = [await regretted_family.enqueue(client, 8) for _ in range(4)]
        cluster.expected.ends |= {handle.run_id: State.CANCELLED for handle in told}
        await wait_until(lambda: steps(cluster) >= 8, PATIENCE)  # some have done what is to be undone
        async with anyio.create_task_group() as group:
            for handle in told:
                group.start_soon(cancel, handle)
            group.start_soon(dies, workers[0])
        if not aikids[0].running:
            aikids[0].start()
        await cluster.check()


async def cancel(handle: Handle[None]) -> None:
    await handle.cancel()


async def test_no_order_is_paid_for_under_a_second_key_over_retries_and_kills(cluster: Cluster) -> None:
    first, _ = cluster.aikids("", "")
    workers = [cluster.worker("", "--lease", "1s") for _ in range(2)]
    over = anyio.Event()
    orders: set[str] = set()

    async def one_after_the_other(lane: int) -> None:
        n = lane
        while n < 4 or not over.is_set():  # there is always one under way to be killed
            orders.update((f"order-{n}", f"fee-order-{n}"))
            await retry_until_done(cluster, client, f"order-{n}")
            n += 4

    async with cluster.client() as client:
        with anyio.fail_after(patient(2 * PATIENCE)):
            async with anyio.create_task_group() as group:
                for lane in range(4):
                    group.start_soon(one_after_the_other, lane)
                for victim in (workers[0], first, workers[1]):
                    await goes_on(cluster, 8)
                    await dies(victim)
                over.set()
        await cluster.finish(client)
    assert len(cluster.expected.ends) > 4, "next to nothing was retried"
    assert {effect.order for effect in cluster.effects() if effect.event == "charge"} == orders


@pytest.mark.parametrize(("point", "what"), [("retry.before_commit", "kill"), ("retry.before_reply", "drop")])
async def test_a_retry_is_one_though_its_daemon_dies_or_its_reply_is_lost(
    cluster: Cluster, point: str, what: str
) -> None:
    cluster.aikids(f"{point}={what}", "")
    cluster.worker("", "--lease", "1s")
    async with cluster.client() as client:
        n = 0
        while not cluster.reached(point):
            await retry_until_done(cluster, client, f"order-{n}", fails=1)
            n += 1
        await cluster.finish(client)
    of_origins = cluster.query("SELECT count(*), max(attempt) FROM aiki.runs GROUP BY origin_id")
    assert all(count == attempt for count, attempt in of_origins)


async def retry_until_done(cluster: Cluster, client: Client, order: str, fails: int = 2) -> None:
    """Retry an order as often as it fails: its child does so first, and then it does itself."""
    handle = await ordered.enqueue(client, order, fails)
    while await fails_with(handle) is not None:
        cluster.expected.ends[handle.run_id] = State.FAILED
        handle = await handle.retry()
    cluster.expected.results[handle.run_id] = order


async def fails_with(handle: Handle[str]) -> RunFailed | None:
    """Return what a run fails with; None if it completes."""
    try:
        await handle.result()
    except RunFailed as error:
        return error
    return None
