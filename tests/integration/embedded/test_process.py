"""The `aikid` command against servers that are there, come late, or never come."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.servers import Nats, Postgres, Program
from tests.servers.authority import Authority
from tests.servers.operator import HOUR_SECONDS, Operator
from tests.waiting import patient

READY = "aikid is ready"
Run = Callable[..., Program]


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    """Call it with arguments and variables to start `aikid`."""
    with ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Program:
            environment = servers.clean_environment(**variables)
            made = Program(servers.aikid_command(*arguments), folder, name="aikid", env=environment, cwd=folder)
            stack.callback(made.close)
            made.start()
            return made

        yield start


def test_it_serves_and_stops_when_asked(run: Run, database: str, nats: Nats) -> None:
    daemon = run(AIKI_DATABASE_URL=database, AIKI_NATS_URL=nats.url)
    daemon.wait_for_log(READY)
    assert daemon.terminate() == 0
    lines = [json.loads(line) for line in daemon.logged().splitlines()]
    assert [line["level"] for line in lines if line["level"] not in ("info", "debug")] == []
    assert lines[-1]["message"] == "stopped"


def test_it_waits_for_servers_that_come_late(run: Run, folder: Path) -> None:
    late, late_nats = Postgres(folder), Nats(folder)
    late.start()
    late.stop()
    daemon = run(AIKI_DATABASE_URL=late.url(), AIKI_NATS_URL=late_nats.url)
    daemon.wait_for_log("trying for another")
    late.start()
    late_nats.start()
    try:
        daemon.wait_for_log(READY)
        assert daemon.terminate() == 0
    finally:
        late_nats.stop()
        late.stop()


def test_a_database_that_is_down_ends_it_with_69_and_a_hint(run: Run, nats: Nats) -> None:
    url = f"postgresql://aiki:s3cret@127.0.0.1:{servers.free_port()}/aiki"
    daemon = run("--start-timeout", "500ms", "--log-format", "text", AIKI_DATABASE_URL=url, AIKI_NATS_URL=nats.url)
    assert daemon.wait() == 69
    assert "gave up after 0.5 s" in daemon.logged()
    assert "hint: is it running, and is AIKI_DATABASE_URL right?" in daemon.logged()
    assert "s3cret" not in daemon.logged()


def test_nats_that_is_down_ends_it_with_69_and_a_hint(run: Run, database: str) -> None:
    port = servers.free_port()
    url = f"nats://127.0.0.1:{port}"
    daemon = run("--start-timeout", "500ms", AIKI_DATABASE_URL=database, AIKI_NATS_URL=url)
    assert daemon.wait() == 69
    assert f"NATS cannot be reached: 127.0.0.1:{port}" in daemon.logged()
    assert "AIKI_NATS_URL" in daemon.logged()


@pytest.fixture
def guarded(make_nats: Callable[[], Nats]) -> Nats:
    """A nats-server with one user."""
    nats = make_nats()
    nats.guard()
    return nats


def test_credentials_that_nats_refuses_end_it_with_77_and_a_hint(run: Run, database: str, guarded: Nats) -> None:
    url = guarded.url.replace(":one@", ":wr0ng@")
    for arguments in ([], ["check"]):
        daemon = run(*arguments, "--start-timeout", "500ms", AIKI_DATABASE_URL=database, AIKI_NATS_URL=url)
        assert daemon.wait() == 77
        assert "NATS refuses our credentials: Authorization Violation" in daemon.logged()
        assert "AIKI_NATS_URL" in daemon.logged()
        assert "wr0ng" not in daemon.logged()


def test_a_server_whose_authority_is_unknown_ends_it_with_77_and_a_hint(
    run: Run, database: str, make_nats: Callable[[], Nats], authority: Authority, tmp_path: Path
) -> None:
    nats = make_nats()
    nats.restart_with(tls=authority.sign("daemons-nats").of_a_server)
    ours = {"AIKI_DATABASE_URL": database, "AIKI_NATS_URL": nats.url}
    for arguments in ([], ["check"]):
        daemon = run(*arguments, "--start-timeout", "500ms", **ours)
        assert daemon.wait() == 77
        assert "NATS cannot be trusted: the certificate of 127.0.0.1:" in daemon.logged()
        assert "export AIKI_TLS_CA=ca.pem" in daemon.logged()
        assert "Traceback" not in daemon.logged()
    daemon = run("--tls-ca", str(tmp_path / "none.pem"), **ours)
    assert daemon.wait() == 66
    assert f"tls_ca: cannot read {tmp_path / 'none.pem'}: No such file" in daemon.logged()
    daemon = run(**ours, AIKI_TLS_CA=f"{authority.file}\n")
    daemon.wait_for_log(READY)
    assert daemon.terminate() == 0
    assert "WARNING" not in daemon.logged().upper()


@pytest.mark.parametrize(
    ("permissions", "said"),
    [
        ({"publish": {"deny": ["_INBOX.>"]}}, 'Publish to "_INBOX.'),
        ({"publish": {"deny": ["$JS.>"]}}, 'Publish to "$JS.API.'),
        ({"publish": {"deny": ["aiki.>"]}}, 'Publish to "aiki.v1.'),
        ({"publish": {"deny": ["aiki.v1.*.run.>"]}}, 'Publish to "aiki.v1.'),
        ({"subscribe": {"deny": ["aiki.v1.*.api.>"]}}, 'Subscription to "aiki.v1.'),
        ({"subscribe": {"deny": ["_INBOX.>"]}}, 'Subscription to "_INBOX.'),
    ],
)
def test_a_permission_that_a_daemon_needs_is_missed_before_it_is_ready(
    run: Run, database: str, guarded: Nats, permissions: dict[str, Any], said: str
) -> None:
    guarded.guard(permissions=permissions)
    daemon = run("--start-timeout", "1s", "--log-format", "text", AIKI_DATABASE_URL=database, AIKI_NATS_URL=guarded.url)
    assert daemon.wait() == 77
    assert f"Permissions Violation for {said}" in daemon.logged()
    assert "server's permissions right" in daemon.logged()
    assert READY not in daemon.logged()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"password": "two"}, id="credentials"),
        pytest.param({"permissions": {"subscribe": {"deny": ["aiki.v1.*.api.>"]}}}, id="permissions"),
        pytest.param({"permissions": {"publish": {"deny": ["_INBOX.>"]}}}, id="replies"),
    ],
)
def test_what_nats_refuses_for_the_start_timeout_ends_a_running_daemon_with_77(
    run: Run, database: str, guarded: Nats, changes: dict[str, Any]
) -> None:
    daemon = run("--start-timeout", "1s", AIKI_DATABASE_URL=database, AIKI_NATS_URL=guarded.url)
    daemon.wait_for_log(READY)
    began = time.monotonic()
    guarded.guard(**changes)
    assert daemon.wait() == 77
    assert time.monotonic() - began > 0.9
    assert "NATS has refused us for 1 s: " in daemon.logged()


def test_credentials_that_expire_end_a_running_daemon_with_77_and_it_says_so(
    run: Run, database: str, make_nats: Callable[[], Nats]
) -> None:
    nats, operator = make_nats(), Operator()
    nats.restart_with(**operator.settings(), **operator.sentinel(seconds=HOUR_SECONDS))
    daemon = run("--start-timeout", "2s", AIKI_DATABASE_URL=database, AIKI_NATS_URL=nats.url)
    daemon.wait_for_log(READY)
    nats.restart_with(**operator.sentinel(seconds=patient(2)))
    assert daemon.wait() == 77
    assert "NATS has refused us for 2 s: User Authentication Expired, and now Authorization" in daemon.logged()


def test_a_server_that_accepts_and_says_nothing_does_not_hold_it_for_ever(
    run: Run, nats: Nats, make_postgres: Callable[[], Postgres]
) -> None:
    server = make_postgres()
    server.pause()
    daemon = run("--start-timeout", "500ms", AIKI_DATABASE_URL=server.url(), AIKI_NATS_URL=nats.url)
    assert daemon.wait() == 69
    assert "gave up after 0.5 s" in daemon.logged()
    server.resume()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_wait_for_servers(run: Run, number: signal.Signals) -> None:
    daemon = run(AIKI_DATABASE_URL=f"postgresql://aiki@127.0.0.1:{servers.free_port()}/aiki")
    daemon.wait_for_log("trying for another")
    assert daemon.terminate(number) == 0


def test_a_wrong_setting_ends_it_with_78_and_names_the_variable(run: Run) -> None:
    daemon = run(AIKI_DATABASE_URL="postgresql://db/aiki", AIKI_POOL_SIZE="many")
    assert daemon.wait() == 78
    assert "error: AIKI_POOL_SIZE: expected a whole number from 1 to 100, got 'many'" in daemon.logged()


def test_an_unknown_flag_ends_it_with_2(run: Run) -> None:
    assert run("--pool", "6").wait() == 2


def test_migrate_can_be_repeated_and_check_then_finds_all_right(run: Run, postgres: Postgres, nats: Nats) -> None:
    url = postgres.create_database("to_migrate")
    variables = {"AIKI_DATABASE_URL": url, "AIKI_NATS_URL": nats.url}
    unmigrated = run("check", **variables)
    assert unmigrated.wait() == 78
    assert "hint: aikid migrate" in unmigrated.logged()
    for _ in range(2):
        migrated = run("migrate", **variables)
        assert migrated.wait() == 0, migrated.logged()
        assert migrated.printed().startswith("the schema is at ")
    checked = run("check", "--pool-size", "7", **variables)
    assert checked.wait() == 0, checked.logged()
    assert "Postgres and NATS answer, and the schema is right" in checked.printed()
    (line,) = [line for line in checked.printed().splitlines() if line.startswith("pool_size")]
    assert line.split() == ["pool_size", "7", "--pool-size"]


def test_an_old_schema_is_refused_where_migrating_is_off(run: Run, postgres: Postgres, nats: Nats) -> None:
    url = postgres.create_database("not_migrated")
    daemon = run("--no-migrate", AIKI_DATABASE_URL=url, AIKI_NATS_URL=nats.url)
    assert daemon.wait() == 78
    assert "aikid migrate" in daemon.logged()
