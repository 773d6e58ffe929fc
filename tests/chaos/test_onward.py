"""Runs that go on as new while everything is killed: no generation is lost, none is lived twice."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.flows import onward
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

RUNS, GENERATIONS = 4, 60
BETWEEN = 30
"""Tasks from one kill to the next."""


async def test_runs_that_go_on_as_new_lose_no_generation_and_repeat_none_whatever_is_killed(cluster: Cluster) -> None:
    first, second = cluster.aikids("record.before_reply=drop@20", "handoff.before_push=drop@10")
    workers = [cluster.worker("", "--lease", "1s") for _ in range(2)]
    async with cluster.client() as client:
        for _ in range(RUNS):
            handle = await onward.enqueue(client, GENERATIONS, [])
            cluster.expected.results[handle.run_id] = list(range(GENERATIONS, -1, -1))
        for victim in (workers[0], first, cluster.postgres, workers[1], second):
            done = len(cluster.effects())
            await wait_until(partial(lambda least: len(cluster.effects()) >= least, done + BETWEEN), 20)
            await anyio.to_thread.run_sync(victim.kill9)
            await anyio.to_thread.run_sync(victim.start)
        summary = await cluster.finish(client)
    assert summary.starts >= RUNS * (GENERATIONS + 1)
    assert cluster.query("SELECT DISTINCT generation FROM aiki.runs WHERE namespace = %(ns)s") == [(GENERATIONS,)]
