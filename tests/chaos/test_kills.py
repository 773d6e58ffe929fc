"""kill -9 of every process at every hop of a run's way, under load. The promises hold, and the rest carries on."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from tests.chaos.cluster import PATIENCE, Cluster, is_frozen
from tests.chaos.flows import held
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

DAEMON_POINTS = [
    "enqueue.before_commit",
    "enqueue.before_reply",
    "enqueue.before_hint",
    "handoff.before_push",
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
    "worker.handed",
    "task.before_body",
    "task.inside_body",
    "task.after_body",
    "worker.recorded",
    "worker.before_sleep",
    "worker.before_complete",
]
CLIENT_POINTS = ["client.before_enqueue", "client.after_enqueue"]


@pytest.mark.parametrize("point", DAEMON_POINTS)
async def test_a_daemon_killed_at(served: Cluster, point: str) -> None:
    victim = served.aikid(f"{point}=kill")
    async with served.client() as client:
        served.worker()
        await served.load(client, until=lambda: served.reached(point))
        await served.finish(client)
    assert not victim.running


@pytest.mark.parametrize("point", WORKER_POINTS)
async def test_a_worker_killed_at(served: Cluster, point: str) -> None:
    victim = served.worker(f"{point}=kill@2")
    served.worker()
    async with served.client() as client:
        await served.load(client, until=lambda: served.reached(point))
        summary = await served.finish(client)
    assert not victim.running
    assert summary.takeovers > 0 or point == "worker.hinted"


@pytest.mark.parametrize("server", ["nats", "postgres"])
async def test_a_server_killed_while_the_daemon_stands_at_each_point(cluster: Cluster, server: str) -> None:
    killed = cluster.nats if server == "nats" else cluster.postgres
    daemon = cluster.aikid(",".join(f"{point}=stop" for point in DAEMON_POINTS))
    async with cluster.client() as client:
        cluster.worker("", "--lease", "5s", start=False).launch()

        stood: set[str] = set()

        def through() -> bool:
            # Not by `reached` alone: it is true a moment before the daemon stops, and nobody would let that one go on.
            return stood.issuperset(DAEMON_POINTS)

        async with anyio.create_task_group() as group:
            group.start_soon(partial(cluster.load, client, until=through))
            while not through():
                await wait_until(lambda: is_frozen(daemon), PATIENCE, what="the next point")
                stood.update(filter(cluster.reached, DAEMON_POINTS))
                killed.kill9()
                daemon.resume()
                killed.start()
        await cluster.finish(client)


@pytest.mark.parametrize("point", CLIENT_POINTS)
async def test_a_client_killed_at(served: Cluster, point: str) -> None:
    served.worker()
    victim = served.enqueuer(20, f"{point}=kill@7")
    await wait_until(lambda: not victim.running, what="the client's death")
    assert served.reached(point)
    assert served.tell_of(victim) == 6
    # The next one repeats everything with the same keys: what was enqueued already is found.
    assert served.enqueuer(20).wait() == 0
    served.tell_of(victim)


@pytest.mark.parametrize("point", ["rescuer.buried", "rescuer.fenced"])
async def test_a_rescuer_killed_between_its_statements(cluster: Cluster, point: str) -> None:
    """The session's burial is a commit of its own: the next daemon finds what is left to do."""
    daemon = cluster.aikid(f"{point}=kill")
    dead = cluster.worker()
    async with cluster.client() as client:
        handle = await held.enqueue(client, "gate")
        cluster.expected.results[handle.run_id] = 2
        await wait_until(lambda: cluster.begun("gate"), what="a worker at the gate")
        dead.kill9()
        await wait_until(lambda: not daemon.running, what="the daemon's death")
        assert cluster.state_of(handle.run_id) == "running"
        daemon.start()
        cluster.worker()
        cluster.open("gate")
        summary = await cluster.finish(client)
    assert summary.takeovers == 1
