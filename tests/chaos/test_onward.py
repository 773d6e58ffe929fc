"""Runs that go on as new while everything is killed: no generation is lost, none is lived twice."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from aiki import Client
from tests.chaos.cluster import PATIENCE, Cluster
from tests.chaos.flows import onward
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

LANES, GENERATIONS = 4, 20
BETWEEN = 30
"""Tasks from one kill to the next."""


async def test_runs_that_go_on_as_new_lose_no_generation_and_repeat_none_whatever_is_killed(cluster: Cluster) -> None:
    first, second = cluster.aikids("record.before_reply=drop@20", "handoff.before_push=drop@10")
    workers = [cluster.worker("", "--lease", "1s") for _ in range(2)]
    over = anyio.Event()

    async def one_after_the_other(client: Client) -> None:
        while not over.is_set():  # there is always one under way to be killed
            handle = await onward.enqueue(client, GENERATIONS, [])
            cluster.expected.results[handle.run_id] = list(range(GENERATIONS, -1, -1))
            await handle.result()

    async with cluster.client() as client:
        with anyio.fail_after(patient(2 * PATIENCE)):
            async with anyio.create_task_group() as group:
                for _ in range(LANES):
                    group.start_soon(one_after_the_other, client)
                for victim in (workers[0], first, cluster.postgres, workers[1], second):
                    done = len(cluster.effects())
                    await wait_until(partial(lambda least: len(cluster.effects()) >= least, done + BETWEEN), PATIENCE)
                    await anyio.to_thread.run_sync(victim.kill9)
                    await anyio.to_thread.run_sync(victim.start)
                over.set()
        summary = await cluster.finish(client)
    assert summary.starts >= len(cluster.expected.results) * (GENERATIONS + 1)
    assert cluster.query("SELECT DISTINCT generation FROM aiki.runs WHERE namespace = %(ns)s") == [(GENERATIONS,)]
