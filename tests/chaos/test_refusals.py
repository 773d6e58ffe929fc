"""A NATS that refuses for a while, by a new configuration, what it granted before: nobody has to be started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from tests.chaos.cluster import LEASES, Cluster
from tests.servers import Aikid
from tests.servers.operator import HOUR_SECONDS, Operator
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

OTHER_PASSWORD = {"password": "two"}
NO_REQUESTS = {"permissions": {"subscribe": {"deny": ["aiki.v1.*.api.>"]}}}
NO_REPLIES = {"permissions": {"subscribe": {"deny": ["_INBOX.>"]}}}
NO_CALLS = {"permissions": {"publish": {"deny": ["aiki.v1.*.api.>"]}}}
REFUSED_SECONDS = 6.0
"""In all: longer than the leases of 1 and 3 s, and shorter than the start timeout."""


@asynccontextmanager
async def serving(cluster: Cluster, lease: str) -> AsyncIterator[list[Aikid]]:
    """Run two daemons, which it yields, and two workers: all of them must still run when the block is over."""
    daemons = cluster.aikids("", "")
    workers = [cluster.worker("", "--lease", lease) for _ in range(2)]
    yield daemons
    assert all(process.running for process in [*daemons, *workers])


async def refuse(cluster: Cluster, *refusals: dict[str, Any]) -> None:
    """Refuse one thing after the other that the server granted before, then grant all again."""
    for refusal in refusals:
        await anyio.to_thread.run_sync(partial(cluster.nats.guard, **refusal))
        await anyio.sleep(REFUSED_SECONDS / len(refusals))
    await anyio.to_thread.run_sync(cluster.nats.guard)


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize(
    "refusals",
    [
        pytest.param([OTHER_PASSWORD], id="credentials"),
        pytest.param([NO_REQUESTS, NO_REPLIES, NO_CALLS], id="permissions"),
    ],
)
async def test_runs_go_on_after_a_refusal(cluster: Cluster, lease: str, refusals: list[dict[str, Any]]) -> None:
    cluster.nats.guard()
    async with serving(cluster, lease), cluster.client() as client:
        await cluster.load(client, 12)
        async with anyio.create_task_group() as group:
            group.start_soon(refuse, cluster, *refusals)
            await cluster.load(client, 24)
        await cluster.load(client, 32)
        await cluster.finish(client)


@pytest.mark.parametrize("lease", LEASES)
async def test_runs_go_on_after_credentials_have_expired(cluster: Cluster, lease: str) -> None:
    operator = Operator()

    async def expire(daemons: list[Aikid]) -> None:
        """Let everybody in for a moment; once they have been sent away, let them in again."""
        await restart(cluster, **operator.sentinel(seconds=patient(2)))
        expired = "the server says: User Authentication Expired"
        await wait_until(lambda: all(expired in one.logged() for one in daemons), what="the end of what lets us in")
        await anyio.to_thread.run_sync(partial(cluster.nats.configure, **operator.sentinel(seconds=HOUR_SECONDS)))

    await restart(cluster, **operator.settings(), **operator.sentinel(seconds=HOUR_SECONDS))
    async with serving(cluster, lease) as daemons, cluster.client() as client:
        await cluster.load(client, 12)
        async with anyio.create_task_group() as group:
            group.start_soon(expire, daemons)
            await cluster.load(client, 24)
        await cluster.load(client, 32)
        await cluster.finish(client)


async def restart(cluster: Cluster, **settings: Any) -> None:
    await anyio.to_thread.run_sync(partial(cluster.nats.restart_with, **settings))
