"""The schema: migrations arrive at the tables, and a daemon refuses what it does not know."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from aiki.core.errors import ConfigError, Unavailable
from aikid.store import migrate
from aikid.store.tables import SCHEMA, metadata
from tests.servers import Postgres


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    url = postgres.create_database("migrations")
    yield url
    postgres.drop_database("migrations")


def test_the_migrated_schema_is_that_of_the_tables(database: str) -> None:
    # Alembic leaves out the default schema, which is "aiki" for a user of that name.
    engine = migrate.engine(f"{database}&options=-csearch_path%3Dpublic")
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        "compare_type": True,
        "compare_server_default": True,
        "version_table_schema": SCHEMA,
    }
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_indexes_are_those_of_the_tables(empty: str, database: str) -> None:
    """Alembic does not compare predicates, orders and storage options: build both and read them."""
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE SCHEMA aiki")
    metadata.create_all(migrate.engine(empty))
    found = []
    for url in (empty, database):
        with psycopg.connect(url) as connection:
            indexes = connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes"
                " WHERE schemaname = 'aiki' AND tablename <> 'alembic_version'"
            ).fetchall()
            options = connection.execute(
                "SELECT relname, reloptions, obj_description(oid) FROM pg_class"
                " WHERE relnamespace = 'aiki'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'"
            ).fetchall()
            found.append((set(indexes), {name: (set(given or ()), about) for name, given, about in options}))
    assert found[0] == found[1]


def test_several_daemons_may_migrate_at_once(empty: str) -> None:
    errors: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    migrate.check(empty)


def test_an_older_schema_is_refused_with_the_remedy(empty: str) -> None:
    with pytest.raises(ConfigError) as refused:
        migrate.check(empty)
    assert refused.value.hint == "aikid migrate"


@pytest.mark.parametrize("act", [migrate.check, migrate.upgrade])
def test_a_newer_schema_is_refused(empty: str, act: object) -> None:
    migrate.upgrade(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE aiki.alembic_version SET version_num = '9999'")
    assert callable(act)
    with pytest.raises(ConfigError, match="9999"):
        act(empty)


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense"])
def test_only_postgres_is_served(url: str) -> None:
    with pytest.raises(ConfigError):
        migrate.upgrade(url)


def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        migrate.upgrade("postgresql://nobody@127.0.0.1:1/none")
