"""No command shows a password, wherever it stands and whatever comes of it: not in output, logs or command lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aiki_cli.app import build
from aikid.main import COMMANDS
from tests.acceptance.cli.conftest import AIKI, FLOWS
from tests.servers import Aikid, Nats, Postgres, Program, aikid_command, clean_environment, descendants, free_port
from tests.waiting import patient, wait_until_sync

SECRET = "s3cr3t-Pa55"
UNKNOWN = "01900000-0000-7000-8000-000000000000"
MANIFEST = "aiki: 1\nproject: shop\nmodules: {all: [flows]}\nschedules: {nightly: {workflow: hello, every: 1d}}\n"
CLIENTS = {
    "enqueue": ["hello", "--wait", "--timeout", f"{patient(30):g}s"],
    "status": [],
    "wait": [UNKNOWN],
    "run list": [],
    "run show": [UNKNOWN],
    "run history": [UNKNOWN],
    "run pause": [UNKNOWN],
    "run resume": [UNKNOWN],
    "run wake": [UNKNOWN],
    "run cancel": [UNKNOWN],
    "run retry": [UNKNOWN],
    "run delete": [UNKNOWN, "--yes"],
    "run move": [UNKNOWN, "--to-version", "2", "--no-replay", "--yes"],
    "run export": [UNKNOWN],
    "run import": ["-"],
    "why": [UNKNOWN],
    "replay": [UNKNOWN, "-m", "all"],
    "workflow list": [],
    "workflow show": ["hello"],
    "event send": [UNKNOWN, "go"],
    "schedule list": [],
    "schedule create": ["hourly", "hello", "--every", "1h"],
    "schedule update": ["unknown", "--every", "2h"],
    "schedule backfill": ["unknown", "--from", "2026-01-01", "--to", "2026-01-02", "--yes"],
    "schedule delete": ["unknown", "--yes"],
    **{f"schedule {word}": ["unknown"] for word in ("show", "next", "trigger", "pause", "resume")},
    "apply": ["--yes"],
    "check": [],
    "config show": ["--origin"],
    "config profiles": [],
    "completion": ["bash"],
    "help": ["environment"],
    "worker list": [],
}
"""Commands that end by themselves, with what they need."""
SERVERS = {"dev": [], "worker start": ["-m", "flows"]}
NOBODY_THERE = f"nats://user:{SECRET}@127.0.0.1:1"
WRONG = (
    f"nats://user:{SECRET}",
    f"nats://user:x@{SECRET}@127.0.0.1:4222",
    f"nats://user:1/{SECRET}@127.0.0.1:4222",
    f"nats://[user:{SECRET}@127.0.0.1",
    f"http://user:{SECRET}@127.0.0.1:4222",
    f"user:{SECRET}@127.0.0.1:4222",
    f"{SECRET}@127.0.0.1:4222",
)
"""Addresses that are refused."""


class Commands:
    """Commands that run beside each other; whatever they said is looked at in the end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._programs: list[Program] = []

    def start(self, command: list[str], variables: Mapping[str, str], *, can_be_warm: bool = True) -> Program:
        environment = clean_environment(**variables)
        name = f"p{len(self._programs)}"
        program = Program(command, self._folder, name=name, env=environment, cwd=self._folder, can_be_warm=can_be_warm)
        self._stack.callback(program.close)
        program.start()
        self._programs.append(program)
        return program

    def codes(self) -> set[int]:
        """Wait for the end of all and return their exit codes; nothing that they said may hold the secret."""
        codes = {program.wait(60) for program in self._programs if program.process}
        for program in self._programs:
            assert_clear(program)
        self._programs.clear()
        return codes


def assert_clear(program: Program) -> None:
    said = program.printed() + program.logged()
    assert SECRET not in said, said
    assert SECRET.lower() not in said.lower(), said


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "aiki.yaml").write_text(MANIFEST)
    with ExitStack() as stack:
        yield Commands(tmp_path, stack)


def named(prefix: str, group: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from named(f"{prefix}{name} ", command)
        else:
            yield f"{prefix}{name}"


def test_the_walk_knows_every_command() -> None:
    assert set(named("", build(markup=False))) == {*CLIENTS, *SERVERS}
    assert set(COMMANDS) == {"serve", "migrate", "check"}


def words(name: str) -> list[str]:
    return [*AIKI, *name.split(), *{**CLIENTS, **SERVERS}[name]]


def test_nobody_there(commands: Commands) -> None:
    for name in CLIENTS:
        commands.start(words(name), {"AIKI_URL": NOBODY_THERE, "AIKI_DEBUG": "1"})
    worker = commands.start(words("worker start"), {"AIKI_URL": NOBODY_THERE, "AIKI_LOG_LEVEL": "debug"})
    worker.wait_for_log("nats://user:***@127.0.0.1:1")
    worker.close()
    assert commands.codes() == {0, 65, 69}  # 65 of the import, which is given nothing


def test_a_password_that_is_refused(commands: Commands, postgres: Postgres, make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    nats.configure(authorization={"users": [{"user": "user", "password": "another"}]})
    url = nats.url.replace("://", f"://user:{SECRET}@")
    for name in ("status", "enqueue"):
        commands.start(words(name), {"AIKI_URL": url, "AIKI_LOG_LEVEL": "debug"})
    database = postgres.url().replace("://aiki@", f"://aiki:{SECRET}@")
    daemon = {"AIKI_DATABASE_URL": database, "AIKI_NATS_URL": url, "AIKI_START_TIMEOUT": "2s"}
    commands.start(aikid_command("--no-migrate", "--log-level", "debug"), daemon)
    assert commands.codes() <= {69, 77, 78}


def test_an_address_that_is_refused(commands: Commands) -> None:
    for address in WRONG:
        commands.start(words("status"), {"AIKI_URL": address, "AIKI_DEBUG": "1"})
    for name in ("enqueue", "wait", "run list", "worker start"):
        commands.start(words(name), {"AIKI_URL": WRONG[2]})
    assert commands.codes() == {78}


def test_in_the_manifest(commands: Commands, tmp_path: Path) -> None:
    for number, address in enumerate((*WRONG[:3], NOBODY_THERE, f"nats://user:{SECRET}@${{HOST}}", f"{SECRET}@${{")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"aiki: 1\nclient: {{url: '{address}'}}\n")
        commands.start([*words("status"), "-f", str(file)], {})
    assert commands.codes() == {69, 78}


def test_where_it_does_not_belong(commands: Commands) -> None:
    address = NOBODY_THERE.replace(":1", ":4222")
    for misplaced in (
        ["status", "--url", address],
        ["--url", address, "run", "list"],
        ["worker", "start", "-m", "flows", "--url", address],
        ["dev", "--url", address],
        ["status", address],
        ["status", f"--urll={address}"],
        [address],
        ["enqueue", "x", address],
        ["status", "-f", address],
        ["worker", "start", "-m", address],
        ["run", "list", "--state", address],
    ):
        commands.start([*AIKI, *misplaced], {"AIKI_URL": NOBODY_THERE})
    assert commands.codes() <= {2, 5, 65, 69, 78}


def test_a_flag_with_a_password_is_refused(commands: Commands) -> None:
    program = commands.start([*AIKI, "status", "--url", NOBODY_THERE], {})
    assert commands.codes() == {78}
    assert "--url holds a password, which every user of this machine could read" in program.logged()
    assert "AIKI_URL" in program.logged()


def test_a_worker_and_its_processes(commands: Commands, aikid: Aikid, namespace: str) -> None:
    good = {"AIKI_URL": aikid.nats_url.replace("nats://", f"nats://user:{SECRET}@"), "AIKI_NAMESPACE": namespace}
    start = [*words("worker start"), "--processes", "2"]
    fleet = commands.start(start, {**good, "AIKI_LOG_LEVEL": "debug"}, can_be_warm=False)
    wait_until_sync(lambda: fleet.logged().count("serves") == 2, what="both workers")
    for pid in (fleet.pid, *descendants(fleet.pid)):
        assert SECRET not in Path(f"/proc/{pid}/cmdline").read_text()
    clients = [commands.start(words(name), good) for name in CLIENTS]
    assert {client.wait(60) for client in clients} == {0, 5, 65}
    fleet.terminate()
    assert commands.codes() == set()


def test_the_daemon_and_its_commands(commands: Commands, postgres: Postgres, aikid: Aikid) -> None:
    nats = aikid.nats_url.replace("nats://", f"nats://user:{SECRET}@")
    database = postgres.create_database("secrets").replace("://aiki@", f"://aiki:{SECRET}@")
    away = f"postgresql://aiki:{SECRET}@127.0.0.1:{free_port()}/aiki"
    debug = {"AIKI_LOG_LEVEL": "debug", "AIKI_START_TIMEOUT": "500ms"}
    served = {**debug, "AIKI_START_TIMEOUT": "60s"}
    given = {**served, "AIKI_DATABASE_URL": database, "AIKI_NATS_URL": nats}
    daemon = commands.start(aikid_command(), given, can_be_warm=False)
    for command in COMMANDS:
        commands.start(aikid_command(command), {**debug, "AIKI_DATABASE_URL": away, "AIKI_NATS_URL": nats})
    commands.start(
        aikid_command(),
        {**debug, "AIKI_DATABASE_URL": database, "AIKI_NATS_URL": f"{NOBODY_THERE},nats://{SECRET}@[::1]:1"},
    )
    daemon.wait_for_log("aikid is ready")
    assert SECRET not in Path(f"/proc/{daemon.pid}/cmdline").read_text()
    daemon.terminate()
    check = commands.start(aikid_command("check"), {"AIKI_DATABASE_URL": database, "AIKI_NATS_URL": nats})
    assert commands.codes() == {0, 69}
    assert "postgresql://aiki:***@" in check.printed()


def test_a_setting_of_the_daemon_that_is_refused(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f'database_url = "mysql://aiki:{SECRET}@db"\n')
    (tmp_path / "b.toml").write_text(f'"postgresql://aiki:{SECRET}@db" = 1\n')
    (tmp_path / "url").write_text(f"postgresql://aiki:{SECRET}@et@db")
    good = f"postgresql://aiki:{SECRET}@127.0.0.1:1/aiki"
    refused: list[tuple[list[str], dict[str, str]]] = [
        *(([], {"AIKI_DATABASE_URL": address.replace("nats:", "postgresql:")}) for address in WRONG),
        *(([], {"AIKI_DATABASE_URL": good, "AIKI_NATS_URL": address}) for address in WRONG[:3]),
        ([], {"AIKI_DATABASE_URL": f"host=db password='{SECRET}"}),
        ([], {"AIKI_DATABASE_URL_FILE": good}),
        ([], {"AIKI_DATABASE_URL_FILE": "url"}),
        ([], {"AIKI_CONFIG": good}),
        ([], {"AIKI_CONFIG": "a.toml"}),
        ([], {"AIKI_CONFIG": "b.toml"}),
        ([], {"AIKI_DATABASE_URL": good, "AIKI_POOL_SIZE": good}),
        (["--database-url", good], {}),
        (["--database-url", f"host=db password={SECRET}"], {}),
        (["--nats-url", f"nats://[{SECRET}@127.0.0.1"], {"AIKI_DATABASE_URL": good}),
        (["--pool-size", good], {"AIKI_DATABASE_URL": good}),
    ]
    for flags, variables in refused:
        commands.start(aikid_command("check", *flags), {**variables, "AIKI_START_TIMEOUT": "100ms"})
    assert commands.codes() == {78}
    for flags in ([good], [f"--databaseurl={good}"], ["check", good]):
        commands.start(aikid_command(*flags), {})
    assert commands.codes() == {2}
