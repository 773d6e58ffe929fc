"""A Postgres that refuses for a while: nothing recorded is given up, nobody is told of a bug (P1 to P5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import anyio
import psycopg
import pytest
from psycopg import sql

from tests.chaos.cluster import LEASES, Cluster
from tests.chaos.flows import held
from tests.servers.pooler import running_pooler
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

OUTAGE_SECONDS = 2.5
"""Longer than the shortest lease, and than three sweeps: nobody is taken for dead for it."""
ROLE = sql.Identifier("plain")
RIGHTS = sql.SQL("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA aiki")
STALE = sql.SQL(
    "ALTER TABLE aiki.runs ALTER COLUMN workflow TYPE {0}, ALTER COLUMN version TYPE {0}, ALTER COLUMN why TYPE {0}"
)


class Outage(Protocol):
    def __call__(self, cluster: Cluster) -> AbstractContextManager[None]: ...


def execute(cluster: Cluster, *statements: sql.SQL | sql.Composed) -> None:
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def read_only(cluster: Cluster) -> Iterator[None]:
    """As after a failover: on connections that are open, and on new ones."""
    reload = sql.SQL("SELECT pg_reload_conf()")
    execute(cluster, sql.SQL("ALTER SYSTEM SET default_transaction_read_only = on"), reload)
    try:
        yield
    finally:
        execute(cluster, sql.SQL("ALTER SYSTEM RESET default_transaction_read_only"), reload)


@contextmanager
def without_rights(cluster: Cluster) -> Iterator[None]:
    execute(cluster, sql.SQL("REVOKE {} FROM {}").format(RIGHTS, ROLE))
    try:
        yield
    finally:
        execute(cluster, sql.SQL("GRANT {} TO {}").format(RIGHTS, ROLE))


def as_plain_role(cluster: Cluster) -> str:
    """Return the address for a role that owns nothing, as a careful operator runs a daemon."""
    database = cluster.database_url.partition("?")[0].rpartition("/")[2]
    if not cluster.query("SELECT 1 FROM pg_roles WHERE rolname = 'plain'"):
        execute(cluster, sql.SQL("CREATE ROLE {} LOGIN").format(ROLE))
    execute(
        cluster,
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database), ROLE),
        sql.SQL("GRANT USAGE ON SCHEMA aiki TO {}").format(ROLE),
        sql.SQL("GRANT {} TO {}").format(RIGHTS, ROLE),
    )
    scheme, _, rest = cluster.database_url.partition("://")
    return f"{scheme}://plain@{rest.partition('@')[2]}"


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("outage", [read_only, without_rights])
async def test_a_postgres_that_refuses_for_a_while_repeats_no_body(
    cluster: Cluster, outage: Outage, lease: str
) -> None:
    """The worker is in the middle of tasks, and has outcomes on their way, all the time."""
    daemon = cluster.aikid(database_url=as_plain_role(cluster))
    cluster.worker("", "--lease", lease)
    async with cluster.client() as client:
        handle = await held.enqueue(client, "gate")
        cluster.expected.results[handle.run_id] = 2
        await cluster.load(client, 8)
        await wait_until(lambda: cluster.begun("gate"), what="a worker at the gate")
        async with anyio.create_task_group() as group:
            with outage(cluster):
                cluster.open("gate")
                group.start_soon(cluster.load, client, 16)
                await anyio.sleep(OUTAGE_SECONDS)
        summary = await cluster.finish(client)
    assert (summary.takeovers, repeated(cluster)) == (0, 0)
    assert "Traceback" not in daemon.logged()


@pytest.mark.parametrize("lease", LEASES)
async def test_statements_lost_behind_a_pooler_and_plans_gone_stale_repeat_no_body(
    cluster: Cluster, lease: str
) -> None:
    with running_pooler(cluster.database_url) as pooler:
        daemon = cluster.aikid(database_url=pooler.url)
        cluster.worker("", "--lease", lease)
        async with cluster.client() as client:
            await cluster.load(client, 8)
            pooler.every = 7
            for kind in ("varchar", "text"):
                before = pooler.forgot
                execute(cluster, STALE.format(sql.SQL(kind)))
                await cluster.load(client, until=lambda before=before: pooler.forgot > before + 5)  # type: ignore[misc]
            summary = await cluster.finish(client)
            pooler.every = 0
        daemon.terminate()
    assert (summary.takeovers, repeated(cluster)) == (0, 0)
    assert "Traceback" not in daemon.logged()


def repeated(cluster: Cluster) -> int:
    """Return how many bodies began that had begun before, but for retries of those that failed."""
    starts = Counter((e.run_id, e.key, e.attempt) for e in cluster.effects() if e.event == "start")
    return starts.total() - len(starts)
