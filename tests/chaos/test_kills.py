"""kill -9 of every process at every hop of a run's way, under load. The promises hold, and the rest carries on."""

from __future__ import annotations

import pytest

from tests.chaos.cluster import Cluster
from tests.servers import wait_until

pytestmark = pytest.mark.anyio

DAEMON_POINTS = [
    "enqueue.before_commit",
    "enqueue.before_reply",
    "enqueue.before_hint",
    "claim.before_commit",
    "claim.before_reply",
    "record.before_commit",
    "record.before_reply",
    "record.before_hint",
    "waker.before_hint",
]
WORKER_POINTS = [
    "worker.hinted",
    "worker.claimed",
    "task.before_body",
    "task.inside_body",
    "task.after_body",
    "worker.recorded",
    "worker.before_sleep",
    "worker.before_complete",
]
CLIENT_POINTS = ["client.before_enqueue", "client.after_enqueue"]


@pytest.mark.parametrize("point", DAEMON_POINTS)
async def test_a_daemon_killed_at(cluster: Cluster, point: str) -> None:
    victim, _ = cluster.aikids(f"{point}=kill", "")
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, until=lambda: cluster.reached(point))
        await cluster.finish(client)
    assert not victim.running


@pytest.mark.parametrize("point", WORKER_POINTS)
async def test_a_worker_killed_at(cluster: Cluster, point: str) -> None:
    cluster.aikid()
    victim = cluster.worker(f"{point}=kill@2")
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, until=lambda: cluster.reached(point))
        summary = await cluster.finish(client)
    assert not victim.running
    assert summary.takeovers > 0 or point == "worker.hinted"


@pytest.mark.parametrize("point", CLIENT_POINTS)
async def test_a_client_killed_at(cluster: Cluster, point: str) -> None:
    cluster.aikid()
    cluster.worker()
    victim = cluster.enqueuer(20, f"{point}=kill@7")
    await wait_until(lambda: not victim.running, what="the client's death")
    assert cluster.reached(point)
    assert cluster.tell_of(victim) == 6
    # The next one repeats everything with the same keys: what was enqueued already is found.
    assert cluster.enqueuer(20).wait() == 0
    cluster.tell_of(victim)


async def test_a_rescuer_killed_between_its_statements(cluster: Cluster) -> None:
    point = "rescuer.between"
    victim, _ = cluster.aikids(f"{point}=kill", "")
    worker = cluster.worker()
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, 12)
        worker.kill9()
        await cluster.load(client, until=lambda: cluster.reached(point) or not victim.running)
        await cluster.finish(client)
