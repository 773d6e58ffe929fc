"""Runs that are spoken to while everything is killed: each event that was accepted is taken once, in order."""

from __future__ import annotations

import os
from functools import partial

import anyio
import pytest

from tests.chaos.cluster import PATIENCE, Cluster, is_frozen
from tests.chaos.talk import Orders, Talk
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

BETWEEN = 15
"""Events from one kill to the next."""
DAEMON_POINTS = {
    "events": ["send.before_commit", "send.before_reply", "send.before_hint", "news.before_push"],
    "orders": [
        *("pause.before_commit", "pause.before_reply", "cancel.before_commit", "cancel.before_reply"),
        "deadline.before_tell",
    ],
}
WORKER_POINTS = ["worker.told", "worker.before_wait"]
SERVERS = ["postgres", *(["nats"] if os.environ.get("CHAOS_LONG") else [])]


async def test_what_is_accepted_is_taken_once_and_in_order_whatever_is_killed(cluster: Cluster) -> None:
    first, _ = cluster.aikids("", "")
    workers = [cluster.worker("", "--lease", "1s", "--linger", linger) for linger in ("1s", "20ms")]
    async with cluster.client() as client:
        talk = Talk(cluster, client)
        async with anyio.create_task_group() as group:
            group.start_soon(talk.go_on)
            for victim in (workers[0], first, cluster.nats, cluster.postgres):
                await wait_until(partial(lambda least: talk.accepted >= least, talk.accepted + BETWEEN), 20)
                await anyio.to_thread.run_sync(victim.kill9)
                await anyio.to_thread.run_sync(victim.start)
            talk.end()
        summary = await cluster.finish(client)
    assert summary.events >= 4 * BETWEEN


@pytest.mark.parametrize("points", DAEMON_POINTS.values(), ids=DAEMON_POINTS)
async def test_a_daemon_killed_at_each_hop_of_what_runs_are_told(served: Cluster, points: list[str]) -> None:
    victim = served.aikid(",".join(f"{point}=kill" for point in points))
    served.worker("", "--lease", "1s")
    async with served.client() as client, anyio.create_task_group() as group:
        talk = Talk(served, client)
        group.start_soon(talk.go_on)
        group.start_soon(Orders(served, client, talk).go_on)
        while not all(map(served.reached, points)):
            await wait_until(lambda: not victim.running, PATIENCE, what="the next kill")
            await anyio.to_thread.run_sync(victim.start)
        talk.end()
    async with served.client() as client:
        await served.finish(client)


@pytest.mark.parametrize("point", WORKER_POINTS)
async def test_a_worker_killed_as_it_hears_of_an_event_or_leaves_a_run_to_wait(served: Cluster, point: str) -> None:
    victim = served.worker(f"{point}=kill@5", "--lease", "1s")
    served.worker("", "--lease", "1s")
    async with served.client() as client:
        talk = Talk(served, client)
        async with anyio.create_task_group() as group:
            group.start_soon(talk.go_on)
            group.start_soon(Orders(served, client, talk).go_on)
            await wait_until(lambda: not victim.running, PATIENCE, what="the kill")
            talk.end()
        summary = await served.finish(client)
    assert served.reached(point)
    assert summary.takeovers > 0 or point == "worker.told"  # of a run that it has given back since


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_killed_while_the_daemon_stands_at_each_hop_of_what_runs_are_told(
    cluster: Cluster, server: str
) -> None:
    killed = cluster.nats if server == "nats" else cluster.postgres
    points = {point for points in DAEMON_POINTS.values() for point in points}
    daemon = cluster.aikid(",".join(f"{point}=stop" for point in points))
    cluster.worker("", "--lease", "5s")
    async with cluster.client() as client:
        talk = Talk(cluster, client)
        stood: set[str] = set()
        async with anyio.create_task_group() as group:
            group.start_soon(talk.go_on)
            group.start_soon(Orders(cluster, client, talk).go_on)
            while not stood.issuperset(points):
                await wait_until(lambda: is_frozen(daemon), PATIENCE, what="the next point")
                stood.update(filter(cluster.reached, points))
                killed.kill9()
                daemon.resume()
                await anyio.to_thread.run_sync(killed.start)
            talk.end()
        await cluster.finish(client)
