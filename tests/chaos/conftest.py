"""Fixtures of the chaos tests: one Postgres for all of them, a database and a nats-server for each.

With `CHAOS_KEEP=folder` the logs and the ledger of each test are copied there.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers
from tests.chaos.cluster import Cluster
from tests.servers import Aikid, Nats, Postgres


@pytest.fixture(scope="session")
def chaos_postgres() -> Iterator[Postgres]:
    """A Postgres that may be killed, and that remembers when each row was committed."""
    # Not synced: what a killed process has written the kernel keeps, and no test takes the machine down.
    with servers.running_postgres(durable=False, settings={"track_commit_timestamp": "on"}) as server:
        yield server


@pytest.fixture(scope="session")
def chaos_template(chaos_postgres: Postgres) -> str:
    """The name of a migrated, empty database."""
    from aikid.store import migrate

    migrate.upgrade(chaos_postgres.create_database("chaos_template"))
    return "chaos_template"


@pytest.fixture
def cluster(chaos_postgres: Postgres, chaos_template: str) -> Iterator[Cluster]:
    """Servers of the scenario's own; it starts its daemons itself."""
    name = f"chaos_{uuid.uuid4().hex[:8]}"
    url = chaos_postgres.create_database(name, template=chaos_template)
    with servers.running_nats() as nats, _in_folder(chaos_postgres, nats, url) as made:
        yield made
    chaos_postgres.start()
    chaos_postgres.drop_database(name)


@pytest.fixture(scope="session")
def chaos_nats() -> Iterator[Nats]:
    """The nats-server of `chaos_aikid`."""
    with servers.running_nats() as server:
        yield server


@pytest.fixture(scope="session")
def chaos_aikid(chaos_postgres: Postgres, chaos_template: str, chaos_nats: Nats) -> Iterator[Aikid]:
    """A daemon that scenarios share which harm only workers."""
    url = chaos_postgres.create_database("chaos_shared", template=chaos_template)
    with servers.server_folder() as folder:
        daemon = Aikid(folder, database_url=url, nats_url=chaos_nats.url)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.close()


@pytest.fixture
def served(chaos_postgres: Postgres, chaos_nats: Nats, chaos_aikid: Aikid) -> Iterator[Cluster]:
    """A namespace on the shared daemon, for scenarios that harm only workers and clients."""
    with _in_folder(chaos_postgres, chaos_nats, chaos_aikid.database_url) as made:
        yield made


@contextmanager
def _in_folder(postgres: Postgres, nats: Nats, url: str) -> Iterator[Cluster]:
    with servers.server_folder() as folder:
        made = Cluster(folder, postgres, nats, url)
        try:
            yield made
        finally:
            made.close()
            if kept := os.environ.get("CHAOS_KEEP"):
                shutil.copytree(folder, Path(kept) / made.namespace)
