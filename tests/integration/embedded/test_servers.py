"""The servers that other tests stand on."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests import servers
from tests.servers import Aikid, Aikids, Nats, Postgres
from tests.waiting import wait_until_sync

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kept() -> Iterator[Postgres]:
    with servers.running_postgres() as server:
        yield server


@pytest.fixture
def durable(kept: Postgres) -> Postgres:
    """A Postgres to kill and wipe, which goes from test to test."""
    kept.start()
    return kept


def test_databases_of_one_server_do_not_see_each_other(postgres: Postgres, namespace: str) -> None:
    first = postgres.create_database(f"{namespace}-a")
    postgres.create_database(f"{namespace}-b")
    with psycopg.connect(first) as connection:
        connection.execute("create table kept (id int)")
    found = postgres.query("select 1 from pg_class where relname = 'kept'", database=f"{namespace}-b")
    postgres.drop_database(f"{namespace}-a")
    postgres.drop_database(f"{namespace}-b")
    assert found == []


def test_a_killed_postgres_keeps_what_was_committed(durable: Postgres) -> None:
    durable.query("create table seven as select 7 as n")
    durable.kill9()
    assert not durable.running
    durable.restart()
    assert durable.query("select n from seven") == [(7,)]


def test_a_paused_postgres_answers_nobody_until_it_is_resumed(durable: Postgres) -> None:
    durable.pause()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(durable.url(), connect_timeout=2)
    durable.resume()
    assert durable.query("select 1") == [(1,)]


def test_a_wiped_postgres_is_empty(durable: Postgres) -> None:
    durable.query("create table if not exists seven as select 7 as n")
    durable.wipe()
    assert durable.query("select to_regclass('seven')") == [(None,)]


def test_nats_keeps_its_port_over_kill_and_wipe(make_nats: Callable[[], Nats]) -> None:
    server = make_nats()
    before = server.url
    server.kill9()
    server.restart()
    server.wipe()
    assert server.url == before
    assert server.running


def test_stopped_servers_leave_no_process(durable: Postgres) -> None:
    family = [durable.pid, *servers.descendants(durable.pid)]
    durable.stop()
    wait_until_sync(lambda: not any(servers.is_alive(pid) for pid in family))
    with suppress(FileNotFoundError):
        assert not (durable.server.data / "postmaster.pid").read_text()


def test_each_test_has_a_migrated_database_of_its_own(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from aiki.runs").fetchone() == (0,)


def test_several_daemons_share_a_database(start_aikid: Aikids) -> None:
    daemons = [start_aikid() for _ in range(2)]
    daemons[0].kill9()
    daemons[0].restart()
    daemons[1].pause()
    daemons[1].resume()
    assert [daemon.terminate() for daemon in daemons] == [0, 0]


def test_a_command_finds_the_shared_daemon_by_its_environment(
    aikid: Aikid, aiki_env: dict[str, str], namespace: str
) -> None:
    assert aikid.running
    assert (aiki_env["AIKI_URL"], aiki_env["AIKI_NAMESPACE"]) == (aikid.nats_url, namespace)
    assert "AIKI_DATABASE_URL" not in aiki_env


SCRIPT = """
import sys
from tests import servers
with servers.running_postgres(durable=False) as postgres, servers.running_nats() as nats:
    print(postgres.pid, nats.pid, *servers.descendants(postgres.pid), flush=True)
    sys.stdin.read()
"""


def test_servers_die_with_a_test_process_that_is_killed(folder: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    variables = servers.clean_environment(TMPDIR=str(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=variables) as tests:
        assert tests.stdout is not None
        family = [int(word) for word in tests.stdout.readline().split()]
        assert all(servers.is_alive(pid) for pid in family)
        tests.kill()
    wait_until_sync(lambda: not any(servers.is_alive(pid) for pid in family), what="the servers to end")
