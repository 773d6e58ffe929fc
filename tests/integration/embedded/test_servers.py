"""The servers that other tests stand on."""

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from tests import servers
from tests.servers import Nats, Postgres, wait_until_sync


def test_databases_of_one_server_do_not_see_each_other(postgres: Postgres, namespace: str) -> None:
    first = postgres.create_database(f"{namespace}-a")
    postgres.create_database(f"{namespace}-b")
    with psycopg.connect(first) as connection:
        connection.execute("create table kept (id int)")
    found = postgres.query("select 1 from pg_class where relname = 'kept'", database=f"{namespace}-b")
    postgres.drop_database(f"{namespace}-a")
    postgres.drop_database(f"{namespace}-b")
    assert found == []


def test_a_killed_postgres_keeps_what_was_committed(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.query("create table kept as select 7 as n")
    server.kill9()
    assert not server.running
    server.restart()
    assert server.query("select n from kept") == [(7,)]


def test_a_paused_postgres_answers_nobody_until_it_is_resumed(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.pause()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url(), connect_timeout=2)
    server.resume()
    assert server.query("select 1") == [(1,)]


def test_a_wiped_postgres_is_empty(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    server.query("create table kept as select 7 as n")
    server.wipe()
    assert server.query("select to_regclass('kept')") == [(None,)]


def test_nats_keeps_its_port_over_kill_and_wipe(make_nats: Callable[[], Nats]) -> None:
    server = make_nats()
    before = server.url
    server.kill9()
    server.restart()
    server.wipe()
    assert server.url == before
    assert server.running


def test_stopped_servers_leave_no_process(make_postgres: Callable[[], Postgres]) -> None:
    server = make_postgres()
    family = [server.pid, *servers.descendants(server.pid)]
    server.stop()
    wait_until_sync(lambda: not any(servers.is_alive(pid) for pid in family))
    with suppress(FileNotFoundError):
        assert not (server.server.data / "postmaster.pid").read_text()
