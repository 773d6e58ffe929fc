"""Own the Postgres servers of tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from aikid.embedded.binaries import postgres_folder, postgres_major
from aikid.embedded.folder import Folder
from aikid.embedded.postgres import Postgres as PostgresProgram
from tests.servers.embedded import Served
from tests.servers.surroundings import server_account, server_folder

STRATEGY_MAJOR = 15
"""Since then Postgres writes a copied database through the log, unless told otherwise; before it copied files."""
TEST_SPEED = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "autovacuum": "off"}
"""For servers that no test kills: creating a database from the template takes a third of the time."""


@contextmanager
def running_postgres(**options: Any) -> Iterator[Postgres]:
    """Run a Postgres in a folder of its own."""
    with server_folder() as folder:
        server = Postgres(folder, **options)
        try:
            server.start()
            yield server
        finally:
            server.close()


class Postgres(Served):
    """A Postgres of its own on `folder`. `durable=False` is faster and must not be killed."""

    server: PostgresProgram

    def __init__(self, folder: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._durable = durable
        chosen = {"max_connections": "200", **({} if durable else TEST_SPEED), **(settings or {})}
        self.server = PostgresProgram(Folder(folder), server_account(), settings=chosen)

    def url(self, database: str = "postgres") -> str:
        """Return the address of `database`."""
        return self.server.url(database)

    def query(self, statement: LiteralString | sql.Composed, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in autocommit and return its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if one is named, and return its address."""
        words = sql.SQL("create database {}").format(sql.Identifier(name))
        if template is not None:
            words += sql.SQL(" template {}").format(sql.Identifier(template))
            if not self._durable and postgres_major(postgres_folder(server_account())) >= STRATEGY_MAJOR:
                # Without syncing, copying the files costs less CPU than writing them through the log.
                words += sql.SQL(" strategy file_copy")
        self.query(words)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and cut off whoever is connected to it."""
        self.query(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def wipe(self) -> None:
        """Start it again on an empty cluster: all data is gone."""
        self.stop()
        shutil.rmtree(self.server.data)
        self.start()
