"""The schema: migrations arrive at the tables, and a daemon refuses what it does not know."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from aiki.core.errors import ConfigError, Unavailable
from aikid.store import migrate
from aikid.store.fates import Fate, of_error
from aikid.store.schema import SCHEMA
from aikid.store.standing_tables import metadata
from aikid.store.tables import runs
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


def test_the_indexes_and_functions_are_those_of_the_tables(empty: str, database: str) -> None:
    """Alembic does not compare predicates, orders, storage options and functions: build both and read them."""
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
            columns = connection.execute(
                "SELECT relname, attname, col_description(c.oid, attnum) FROM pg_class c"
                " JOIN pg_attribute ON attrelid = c.oid WHERE relnamespace = 'aiki'::regnamespace AND relkind = 'r'"
                " AND attnum > 0 AND NOT attisdropped AND relname <> 'alembic_version'"
            ).fetchall()
            functions = connection.execute(
                "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'aiki'::regnamespace"
            ).fetchall()
            tables = {name: (set(given or ()), about) for name, given, about in options}
            found.append((set(indexes), tables, set(columns), set(functions)))
    assert found[0] == found[1]


def test_no_table_of_a_new_schema_counts_as_one_without_rows(database: str) -> None:
    """Plans are made once, while all is empty: Postgres must guess that tables hold something, not know better."""
    with psycopg.connect(database) as connection:
        analyzed = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'aiki'::regnamespace AND relkind = 'r' AND reltuples >= 0"
        ).fetchall()
    assert analyzed == []


def test_what_is_written_once_of_a_run_stands_before_what_changes(database: str) -> None:
    """Else Postgres logs it again with each change: see `tables`."""
    order = (
        "SELECT attname FROM pg_attribute WHERE attrelid = 'aiki.runs'::regclass AND attnum > 0"
        " AND NOT attisdropped ORDER BY attnum"
    )
    with psycopg.connect(database) as connection:
        found = [name for (name,) in connection.execute(order).fetchall()]
    assert found == [column.name for column in runs.columns]


STORED = """
INSERT INTO aiki.runs
  (id, origin_id, namespace, workflow, version, state, input, created_at, finished_at, labels, key, digest)
SELECT id, id, 'ns', 'flow', '1', state, '{}', now() - n * interval '1 s',
  CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN now() END,
  CASE WHEN n % 2 = 0 THEN jsonb_build_object('n', n::text, 'even', 'yes') END,
  CASE WHEN n % 3 = 0 THEN 'key-' || n END, CASE WHEN n % 3 = 0 THEN 'digest-' || n END
FROM (
  SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, 'f'))::uuid AS id, n,
    ('{queued,running,blocked,completed,failed,cancelled}'::text[])[1 + n % 6] AS state FROM generate_series(1, 60) AS n
) AS made
"""
JOURNAL = """
INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value)
SELECT id, seq, true, 1, CASE WHEN seq % 3 = 0 THEN 'timer:1' ELSE 'task:a:0:1' END, '1'
FROM (
  SELECT min(id::text)::uuid AS id, 99 AS length FROM aiki.runs UNION ALL SELECT max(id::text)::uuid, 150 FROM aiki.runs
)
AS two, generate_series(1, length) AS seq
"""
BESIDE = {
    "task_counts": (
        "SELECT run_id::text, seq, tasks FROM aiki.task_counts",
        "SELECT max(id::text), 150, 100 FROM aiki.runs",
    ),
    "listing": (
        "SELECT namespace, created_at, run_id, right(run_id::text, 8), to_hex(tail) FROM aiki.listing ORDER BY number",
        "SELECT namespace, created_at, id, right(id::text, 8), right(id::text, 8) FROM aiki.runs ORDER BY created_at",
    ),
    "labels": (
        "SELECT namespace, name, value, created_at, run_id FROM aiki.labels ORDER BY run_id, name",
        "SELECT namespace, l.key, l.value, created_at, id FROM aiki.runs, jsonb_each_text(labels) AS l ORDER BY id, 2",
    ),
    "ended": (
        "SELECT namespace, workflow, version, state, created_at, run_id FROM aiki.ended ORDER BY run_id",
        "SELECT namespace, workflow, version, state, created_at, id FROM aiki.runs"
        " WHERE finished_at IS NOT NULL ORDER BY id",
    ),
}
"""By side table what stands there, and what of the runs ought to."""


FIRST_PLACES = "0002"
"""The schema from which on a try says where it stands in the story."""
ATTEMPTS = {
    True: "INSERT INTO aiki.attempts (run_id, key, attempt, error) SELECT id, 'task:a:0:1', 1, '{}' FROM aiki.runs",
    False: "INSERT INTO aiki.attempts (run_id, key, attempt, error, epoch, journal_length)"
    " SELECT id, 'task:a:0:1', 1, '{}', 1, 0 FROM aiki.runs",
}
"""A try of each run, by whether the schema is older than FIRST_PLACES."""
KEPT = {
    "keys": (
        "SELECT namespace, workflow, key, run_id, digest FROM aiki.keys ORDER BY key",
        "SELECT namespace, workflow, key, id, digest FROM aiki.runs WHERE key IS NOT NULL ORDER BY key",
    ),
    "journal": (
        "SELECT run_id::text, generation, count(*), coalesce(max(asked), 0) FROM aiki.journal GROUP BY 1, 2 ORDER BY 1",
        "(SELECT min(id::text), 0, 99, 0 FROM aiki.runs) UNION ALL (SELECT max(id::text), 0, 150, 0 FROM aiki.runs)"
        " ORDER BY 1",
    ),
    "attempts": (
        "SELECT run_id, generation, key, attempt FROM aiki.attempts ORDER BY run_id",
        "SELECT id, 0, 'task:a:0:1', 1 FROM aiki.runs ORDER BY id",
    ),
    "runs": (
        "SELECT id, generation, attempt, news_seq, unread FROM aiki.runs ORDER BY id",
        "SELECT id, 0, 1, 0, 0 FROM aiki.runs ORDER BY id",
    ),
}
"""What stands in any table after the last migration, and what ought to."""


def migrate_to(database: str, revision: str) -> None:
    """Make the schema of an earlier release."""
    with migrate.engine(database).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA aiki"))
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
        command.upgrade(config, revision)


EARLIER = sorted(migrate.known() - {migrate.head()})


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_schema_is_brought_up_with_what_it_holds(empty: str, revision: str) -> None:
    migrate_to(empty, revision)
    with psycopg.connect(empty) as connection:
        for statement in (STORED, JOURNAL, ATTEMPTS[revision < FIRST_PLACES]):
            connection.execute(statement.encode())
    migrate.upgrade(empty)
    # A table that was there is filled by whoever writes runs.
    made = {**dict.fromkeys(KEPT, "9999"), **dict.fromkeys(BESIDE, "0005"), "keys": "0006"}
    with psycopg.connect(empty) as connection:
        for found, expected in (pair for name, pair in (KEPT | BESIDE).items() if revision < made[name]):
            rows = connection.execute(found.encode()).fetchall()
            assert rows
            assert rows == connection.execute(expected.encode()).fetchall()


FORMER = {
    "enqueue": "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input, claimed_at)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), 'ns', 'flow', '1', 'queued', '{}', NULL)",
    "claim": "UPDATE aiki.runs SET state = 'running', claimed_at = now() WHERE state = 'queued'",
    "record": "INSERT INTO aiki.journal (run_id, seq, ok, turns, at_us, key, value)"
    " VALUES (gen_random_uuid(), 1, true, 1, 1, 'task:a:0:1', '1')",
}
"""Of what an aikid of the former version writes, the part that Postgres must refuse."""


@pytest.mark.parametrize("statement", FORMER.values(), ids=FORMER.keys())
def test_a_daemon_of_the_former_version_is_refused_as_long_as_it_runs(database: str, statement: str) -> None:
    """It answers `Unavailable` then, and the next aikid of the queue group is asked."""
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.UndefinedColumn) as refused:
        connection.execute(statement.encode())
    assert of_error(refused.value, closed=False) is Fate.WAIT


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
