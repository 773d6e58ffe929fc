"""Runs on several workers that share a task's key, while workers are killed at each point of a try."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from aiki import Handle, State
from tests.chaos import shared
from tests.chaos.cluster import PATIENCE, Cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("point", "begun", "ended"), [("task.before_body", 1, 1), ("shared.inside_body", 2, 1), ("task.after_body", 2, 2)]
)
async def test_who_waits_goes_on_when_the_owners_process_is_killed_at(
    served: Cluster, point: str, begun: int, ended: int
) -> None:
    victim = served.worker(f"{point}=kill@1")
    async with served.client() as client:
        first = await shared.charging.enqueue(client, "o")
        await wait_until(lambda: served.reached(point), PATIENCE, what="the end of the first worker")
        served.worker()
        others = [await shared.charging.enqueue(client, "o") for _ in range(5)]
        results = {await one.result(timeout="1m") for one in (first, *others)}
        assert len(results) == 1, "one result stands, and all have it"
    assert not victim.running
    said = shared.said(served.gates, "o")
    assert [sum(word == what for word, _, _ in said) for what in ("begun", "ended")] == [begun, ended]
    assert len({key for _, _, key in said}) == 1, "whoever tries it, the task's own services see one key"


async def test_of_a_hundred_callers_on_three_workers_one_is_tried_and_all_have_its_result(served: Cluster) -> None:
    for _ in range(3):
        served.worker(start=False).launch()
    async with served.client() as client:
        handles = await client.enqueue_many(shared.charging.bind("o") for _ in range(100))
        results = await asyncio.gather(*(one.result(timeout="1m") for one in handles))
        assert len(set(results)) == 1
        assert {(await one.status()).state for one in handles} == {State.COMPLETED}
    assert [word for word, _, _ in shared.said(served.gates, "o")] == ["begun", "ended"]


@pytest.mark.parametrize("point", ["keys.before_commit", "keys.before_tell"])
async def test_whoever_waits_hears_of_a_key_though_the_daemon_dies_that_tells_it(cluster: Cluster, point: str) -> None:
    aikids = cluster.aikids(f"{point}=kill@1", f"{point}=kill@1")
    cluster.worker("shared.inside_body=block@1", "--lease", "30s")
    async with cluster.client() as client:
        first = await shared.charging.enqueue(client, "o")
        await wait_until(lambda: cluster.reached("shared.inside_body"), PATIENCE)
        cluster.worker("", "--lease", "30s", "--linger", "20ms")
        others = [await shared.charging.enqueue(client, "o") for _ in range(12)]
        for one in others:
            await wait_until(partial(has_left_memory, one), PATIENCE)
        cluster.let_go("shared.inside_body")
        results = await asyncio.gather(*(one.result(timeout="1m") for one in (first, *others)))
    assert len(set(results)) == 1
    assert [word for word, _, _ in shared.said(cluster.gates, "o")] == ["begun", "ended"]
    assert cluster.reached(point)
    assert [one.running for one in aikids].count(True) == 1


async def has_left_memory(handle: Handle[str]) -> bool:
    return (await handle.status()).state is State.WAITING
