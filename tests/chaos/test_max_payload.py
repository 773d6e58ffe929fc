"""A NATS server that takes small messages only, or suddenly smaller ones: no outcome is lost or holds up another."""

from __future__ import annotations

import pytest

from aiki import Client
from tests.chaos.cluster import LEASES, Cluster
from tests.chaos.flows import bulky
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

KB = 1024
FITS, TOO_LARGE = 28_000, 40_000
"""Beside 64 KiB."""


async def enqueue_bulky(cluster: Cluster, client: Client, sizes: list[int], result: list[int], gate: str = "") -> None:
    handle = await bulky.enqueue(client, sizes, gate)
    cluster.expected.results[handle.run_id] = result


@pytest.mark.parametrize("lease", LEASES)
async def test_a_worker_killed_among_results_that_fill_messages_or_fit_none(cluster: Cluster, lease: str) -> None:
    """Nothing is repeated whose worker lived, and what fits no message holds up nothing beside it."""
    cluster.nats.restart_with(max_payload=64 * KB)
    cluster.aikid()
    victim = cluster.worker("worker.recorded=kill@3", "--lease", lease)
    async with cluster.client() as client:
        for _ in range(6):
            await enqueue_bulky(cluster, client, [FITS] * 5, [FITS] * 10)
            await enqueue_bulky(cluster, client, [TOO_LARGE, FITS], [0, FITS] * 2)
        await wait_until(lambda: not victim.running, what="the worker's death")
        cluster.worker("", "--lease", lease)
        await cluster.load(client, 24)
        summary = await cluster.finish(client)
    assert summary.takeovers > 0


@pytest.mark.parametrize("lease", LEASES)
async def test_a_server_that_suddenly_takes_less(cluster: Cluster, lease: str) -> None:
    """What was recorded before is read, what comes after and is too large fails its task, and none is held up."""
    size = 60_000
    cluster.aikid()
    cluster.worker("", "--lease", lease)
    async with cluster.client() as client:
        for _ in range(4):
            await enqueue_bulky(cluster, client, [size, 10], [size, 10, 0, 10], gate="gate")
        await wait_until(lambda: cluster.begun("gate"), what="the worker at the gate")
        recorded = "SELECT count(*) FROM aiki.journal j JOIN aiki.runs r ON r.id = j.run_id WHERE r.namespace = %(ns)s"
        await wait_until(lambda: cluster.query(recorded)[0][0] == 8, what="results of before")
        cluster.nats.restart_with(max_payload=64 * KB)
        await wait_until(lambda: client.transport.room == 64 * KB, what="the connection to the new server")
        cluster.open("gate")
        await cluster.load(client, 12)
        await cluster.finish(client)
