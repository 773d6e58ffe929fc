"""A database that cannot be used is said to be so at the start: which rights it lacks, or what is of the wrong kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from aiki.core.errors import AikiError, ConfigError, Denied, Unavailable
from aikid.store import migrate, requirements
from aikid.store.pool import Pool
from tests.servers import USER, Aikids, Postgres, Program, running_nats
from tests.servers.pooler import running_pooler
from tests.waiting import patient

pytestmark = pytest.mark.anyio

ROLE = "guest"
TABLES = sql.SQL("ALL TABLES IN SCHEMA aiki")


class Database:
    """An empty database, and the address of a role that owns nothing."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.name = name
        self.owner = server.create_database(name)
        self.guest = self.owner.replace("aiki@", f"{ROLE}@")
        self._server = server

    def run(self, *statements: Any) -> None:
        """Run statements on it; `{0}` in them is its name."""
        for statement in statements:
            words = sql.SQL(statement).format(sql.Identifier(self.name))
            self._server.query(words, database=self.name)


@pytest.fixture
def given(postgres: Postgres) -> Iterator[Database]:
    made = Database(postgres, f"test refused-{uuid.uuid4().hex[:12]}")
    if not postgres.query("SELECT 1 FROM pg_roles WHERE rolname = 'guest'"):
        made.run("CREATE ROLE guest LOGIN")
    yield made
    postgres.drop_database(made.name)
    postgres.query("ALTER ROLE guest LOGIN CONNECTION LIMIT -1")
    postgres.query("ALTER ROLE guest RESET ALL")


def refusal(database_url: str) -> AikiError:
    """Return the error of a start; of a second one too, that migrates nothing."""
    found = []
    for begin in (migrate.upgrade, migrate.check):
        with pytest.raises(AikiError) as refused:
            begin(database_url)
        found.append(refused.value)
    return found[0]


async def opened(database_url: str) -> None:
    """Open a pool, and close it."""
    pool = Pool(database_url, size=4)
    try:
        await pool.open()
    finally:
        await pool.aclose()


def test_a_role_that_may_not_create_the_schema_is_told_what_to_grant(given: Database) -> None:
    with pytest.raises(Denied) as refused:
        migrate.upgrade(given.guest)
    assert "may not create schema aiki" in str(refused.value)
    assert refused.value.hint is not None
    given.run(refused.value.hint.partition(";")[0])
    migrate.upgrade(given.guest)


def test_a_schema_that_was_made_for_the_role_is_enough(given: Database) -> None:
    given.run("CREATE SCHEMA aiki AUTHORIZATION guest")
    migrate.upgrade(given.guest)
    migrate.upgrade(given.guest)


def test_what_a_role_has_for_short_statements_ends_no_migration(given: Database) -> None:
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        given.run(f"ALTER DATABASE {{0}} SET {name} = '1ms'")
    migrate.upgrade(given.owner)


def test_a_schema_of_another_role_needs_rights_and_no_more(given: Database) -> None:
    migrate.upgrade(given.owner)
    given.run("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA aiki FROM public")
    steps = {
        "schema aiki": "GRANT USAGE ON SCHEMA aiki TO guest",
        "alembic_version": "GRANT SELECT ON ALL TABLES IN SCHEMA aiki TO guest",
        "lacks rights (DELETE, INSERT, UPDATE) on tables of ours: aiki.attempts, ": None,
        "may not call functions of ours: aiki.now(), ": None,
    }
    for told, remedy in steps.items():
        refused = refusal(given.guest)
        assert isinstance(refused, Denied)
        assert told in str(refused)
        given.run(remedy or str(refused.hint))
    migrate.upgrade(given.guest)
    given.run("UPDATE aiki.alembic_version SET version_num = '0001'")
    with pytest.raises(Denied, match="refuses us") as older:
        migrate.upgrade(given.guest)
    assert "owner" in str(older.value.hint)


@pytest.mark.parametrize(
    ("setting", "kind", "told"),
    [
        ("ALTER DATABASE {0} SET default_transaction_read_only = on", Denied, "read-only"),
        ("REVOKE CONNECT ON DATABASE {0} FROM public", Denied, "permission denied for database"),
        ("ALTER ROLE guest NOLOGIN", Denied, "not permitted to log in"),
        ("ALTER ROLE guest CONNECTION LIMIT 0", Unavailable, "too many connections"),
    ],
)
def test_a_role_that_cannot_work_there_is_told_why(
    given: Database, setting: str, kind: type[AikiError], told: str
) -> None:
    given.run(setting)
    refused = refusal(given.guest)
    assert type(refused) is kind
    assert told in str(refused)
    assert refused.hint


def test_read_only_is_found_too_where_the_address_takes_any_server(given: Database) -> None:
    given.run("ALTER DATABASE {0} SET default_transaction_read_only = on")
    refused = refusal(f"{given.owner}&target_session_attrs=any")
    assert isinstance(refused, Denied)
    assert str(refused.hint).startswith(f'ALTER DATABASE "{given.name}"')


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_an_encoding_that_lacks_characters_is_refused(postgres: Postgres, encoding: str) -> None:
    name = f"test_{encoding.lower()}"
    postgres.query(
        sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(
            sql.Identifier(name), sql.Literal(encoding)
        )
    )
    refused = refusal(postgres.url(name))
    assert isinstance(refused, ConfigError)
    assert f"is {encoding}, and aikid needs UTF8" in str(refused)
    postgres.drop_database(name)


def test_a_postgres_that_is_too_old_is_refused(given: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "OLDEST_MAJOR", 99)
    refused = refusal(given.owner)
    assert isinstance(refused, ConfigError)
    assert "aikid needs 99 or later" in str(refused)


def test_tables_of_somebody_else_are_left_alone(given: Database) -> None:
    given.run("CREATE SCHEMA aiki", "CREATE TABLE aiki.runs (mine text)")
    with pytest.raises(ConfigError, match="has not made") as refused:
        migrate.upgrade(given.owner)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("options=-cnonesuch%3D1", "nonesuch"),
        ("options=-cwork_mem%3Dmuch", "work_mem"),
        ("sslmode=requir", "sslmode"),
        ("target_session_attrs=readwrite", "target_session_attrs"),
        ("service=nonesuch", "nonesuch"),
    ],
)
def test_an_address_that_nothing_can_come_of_is_a_matter_of_configuration(
    given: Database, more: str, told: str
) -> None:
    refused = refusal(f"{given.owner}&{more}")
    assert isinstance(refused, ConfigError)
    assert told in str(refused)


def test_a_database_that_is_not_there_is_named_with_the_command_that_makes_it(postgres: Postgres) -> None:
    refused = refusal(postgres.url("none such"))
    assert isinstance(refused, ConfigError)
    assert refused.hint == "createdb --encoding=UTF8 --template=template0 'none such'"


async def test_of_several_hosts_each_is_told_of(postgres: Postgres) -> None:
    refused = refusal("postgresql://127.0.0.1:1,127.0.0.1:2/aiki")
    assert type(refused) is Unavailable
    assert str(refused).count("Connection refused") == 2


async def test_a_pooler_that_drops_our_settings_is_refused_until_the_role_has_them(given: Database) -> None:
    migrate.upgrade(given.owner)
    given.run(f"GRANT USAGE ON SCHEMA aiki TO {ROLE}")
    given.run("ALTER DATABASE {0} SET default_transaction_isolation = serializable")
    with running_pooler(given.guest) as pooler:
        await opened(pooler.url)
        pooler.ignores_options = True
        with pytest.raises(ConfigError, match="serializable, not read committed, lock_timeout is 0") as refused:
            await opened(pooler.url)
        given.run(*str(refused.value.hint).partition(": ")[2].split("; "))
        await opened(pooler.url)


async def test_a_pool_that_gets_too_few_connections_says_what_to_lower(given: Database) -> None:
    migrate.upgrade(given.owner)
    given.run("ALTER ROLE guest CONNECTION LIMIT 2")
    with pytest.raises(Unavailable, match="too many connections") as refused:
        await opened(given.guest)
    assert "--pool-size" in str(refused.value.hint)


def test_a_daemon_ends_with_a_sentence_and_a_code(given: Database, start_aikid: Aikids, database: str) -> None:
    migrate.upgrade(given.owner)
    with running_nats() as nats, running_pooler(database) as pooler:
        nats.guard()
        pooler.ignores_options = True
        wrong = nats.url.replace(USER["password"], "wrong")
        expected: list[tuple[str, dict[str, str], int, str]] = [
            ("serve", {"database_url": given.guest, "nats_url": nats.url}, 77, "permission denied for schema aiki"),
            ("serve", {"database_url": pooler.url, "nats_url": nats.url}, 78, "ignores `options`"),
            ("check", {"database_url": pooler.url, "nats_url": nats.url}, 78, "ignores `options`"),
            ("check", {"nats_url": wrong}, 77, "NATS refuses our credentials"),
        ]
        soon = {"AIKI_START_TIMEOUT": f"{patient(1):g}s"}
        started = [start_aikid(arguments=[word], env=soon, start=False, **at) for word, at, _, _ in expected]
        for daemon in started:
            Program.start(daemon)
        for daemon, (_, _, code, told) in zip(started, expected, strict=True):
            assert daemon.wait() == code, daemon.logged()
            assert told in daemon.logged()
            assert "Traceback" not in daemon.logged()
