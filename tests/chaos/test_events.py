"""Runs that are spoken to while everything is killed: each event that was accepted is taken once, in order."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.talk import Talk
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

BETWEEN = 15
"""Events from one kill to the next."""


async def test_what_is_accepted_is_taken_once_and_in_order_whatever_is_killed(cluster: Cluster) -> None:
    first, _ = cluster.aikids("", "")
    workers = [cluster.worker("", "--lease", "1s") for _ in range(2)]
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
    assert summary.takeovers > 0
