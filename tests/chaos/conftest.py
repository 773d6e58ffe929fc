"""Fixtures of the chaos tests: one Postgres for all of them, a database and a nats-server for each.

With `CHAOS_KEEP=folder` the logs and the ledger of each test are copied there.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.chaos.cluster import Cluster
from tests.servers import Postgres


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
    """The servers of one scenario."""
    chaos_postgres.start()
    name = f"chaos_{uuid.uuid4().hex[:8]}"
    url = chaos_postgres.create_database(name, template=chaos_template)
    with servers.server_folder() as folder, servers.running_nats() as nats:
        made = Cluster(folder, chaos_postgres, nats, url)
        try:
            yield made
        finally:
            made.close()
            if kept := os.environ.get("CHAOS_KEEP"):
                shutil.copytree(folder, Path(kept) / name, ignore=shutil.ignore_patterns("nats"))
    chaos_postgres.start()
    chaos_postgres.drop_database(name)
