"""A daemon that freezes in the middle of a sweep: the others go on with it, within what is promised (P6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiki.core.duration import to_seconds
from aiki.nats import Connection
from aiki.wire import subjects
from tests.chaos.cluster import LEASES, Cluster, is_frozen
from tests.chaos.flows import held
from tests.chaos.test_recovery import within
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

RESCUED = "SELECT count(*) FROM aiki.run_history WHERE move = 'rescue'"


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("point", ["rescuer.buried", "rescuer.fenced", "rescuer.before_tell"])
async def test_a_daemon_frozen_inside_the_sweep_holds_up_nobody(cluster: Cluster, point: str, lease: str) -> None:
    daemons = cluster.aikids(f"{point}=stop", f"{point}=stop")  # the first to come there
    victim = cluster.worker("", "--lease", lease)
    async with cluster.client() as client:
        handle = await held.enqueue(client, "gate")
        cluster.expected.results[handle.run_id] = 2
        await wait_until(lambda: cluster.begun("gate"), what="a worker at the gate")

        async def used_up() -> Any:
            return (await hints(cluster))["messages"] == 0

        # One that dies with its victim comes back by itself: nobody would need to tell of the run.
        await wait_until(used_up, what="the run's hint to be acknowledged")
        before = (await hints(cluster))["last_seq"]

        async def told() -> Any:
            return (await hints(cluster))["last_seq"] > before

        with within(to_seconds(lease) + 1.0, "queueing again, and telling of it"):
            victim.kill9()
            await wait_until(
                lambda: cluster.state_of(handle.run_id) == "queued", to_seconds(lease) + 15, what="the rescue"
            )
            await wait_until(told, what="a hint")
        (frozen,) = [daemon for daemon in daemons if is_frozen(daemon)]
        frozen.resume()
        cluster.worker("", "--lease", lease)
        cluster.open("gate")
        await handle.result(timeout=ENOUGH)
        summary = await cluster.finish(client)
    assert cluster.query(RESCUED) == [(1,)]
    assert summary.takeovers == summary.repeats == 1


async def hints(cluster: Cluster) -> dict[str, Any]:
    """Return the state of the hint stream: how many were ever published (`last_seq`), how many are there."""
    connection = Connection([cluster.nats.url], name="test")
    await connection.connect(seconds=patient(2))
    try:
        reply = await connection.request(f"$JS.API.STREAM.INFO.{subjects.HINT_STREAM}", seconds=patient(2))
    finally:
        await connection.close()
    state: dict[str, Any] = json.loads(reply.data)["state"]
    return state
