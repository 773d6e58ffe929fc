"""Real servers for tests: Postgres, nats-server and aikid as processes that tests may kill, freeze and wipe.

All of them die with the test process (`PR_SET_PDEATHSIG`) even if that is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from aikid.embedded.binaries import postgres_folder, postgres_major
from aikid.embedded.child import Account, Server, end, last_lines
from aikid.embedded.folder import Folder
from aikid.embedded.nats import Nats as NatsProgram
from aikid.embedded.postgres import Postgres as PostgresProgram
from tests.waiting import patient, wait_until_sync

READY_SECONDS = 30.0
USER = {"user": "aiki", "password": "one"}
"""Of a nats-server that is guarded."""
STRATEGY_MAJOR = 15
"""Since then Postgres writes a copied database through the log, unless told otherwise; before it copied files."""
TEST_SPEED = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "autovacuum": "off"}
"""For servers that no test kills: creating a database from the template takes a third of the time."""


def free_port() -> int:
    """Return a TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_account() -> Account:
    """Return who the servers run as: `nobody` where the tests run as root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder that `nobody` can enter (pytest's own are closed to others) and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="aiki-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Process:
    """A process that can be frozen, killed and started again. `start` and `stop` may be called any number of times."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> None:
        """Kill it with SIGKILL, as a crash does, and wait until it and its children are gone."""
        family = [self.pid, *descendants(self.pid)]
        os.kill(self.pid, signal.SIGKILL)
        self._reap()
        wait_until_sync(lambda: not any(is_alive(pid) for pid in family), what="the killed process's children to end")

    def pause(self) -> None:
        """Freeze it and its children with SIGSTOP: connections stay open and nothing answers."""
        for pid in (self.pid, *descendants(self.pid)):
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for pid in (self.pid, *descendants(self.pid)):
            _signal(pid, signal.SIGCONT)

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(patient(READY_SECONDS))
        self.process = None
        return code


class _Served(Process):
    """A Process that is one of the embedded servers."""

    server: Server

    def start(self) -> None:
        """Start it on its data and wait until it answers."""
        if self.running:
            return
        self.server.prepare()
        self.process = process = self.server.spawn()

        def ready() -> bool:
            assert process.poll() is None, f"{self.server.name} ended:\n{last_lines(self.server, 20)}"
            return self.server.is_ready(process)

        wait_until_sync(ready, READY_SECONDS, what=f"{self.server.name} to answer")

    def stop(self) -> None:
        """End it cleanly."""
        if self.process is not None:
            self.resume()
            end(self.process, first=self.server.stop_signal, then=self.server.kill_signal, seconds=patient(15))
            self.process = None

    def restart(self) -> None:
        """Stop it cleanly if it runs, and start it on the same data."""
        self.stop()
        self.start()


class Postgres(_Served):
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


class _Configured(NatsProgram):
    """A nats-server whose configuration tests change: each of `settings` replaces ours, None removes it."""

    def __init__(self, home: Folder, account: Account, *, port: int) -> None:
        super().__init__(home, account, port=port)
        self.settings: dict[str, Any] = {}

    def prepare(self) -> None:
        super().prepare()
        self.write()

    def write(self) -> None:
        """Write the configuration with what is changed in it."""
        config = self.store / "nats.conf"
        changed = {**json.loads(config.read_text()), **self.settings}
        kept = {name: value for name, value in changed.items() if value is not None}
        config.write_text(json.dumps(kept, ensure_ascii=False))  # it knows no \u escapes


class Nats(_Served):
    """A nats-server of its own on `folder`, on a free port that it keeps over restarts."""

    server: _Configured

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.server = _Configured(Folder(folder), server_account(), port=free_port())
        self._is_guarded = False

    @property
    def url(self) -> str:
        """The address for clients, with the credentials of the one user if there is one."""
        who = f"{USER['user']}:{USER['password']}@" if self._is_guarded else ""
        return self.server.url.replace("://", f"://{who}")

    def guard(self, **changes: Any) -> None:
        """Let in but one user, whom `url` names; with `changes` the server knows it otherwise than `url` does."""
        self._is_guarded = True
        self.configure(authorization={"users": [USER | changes]})

    def configure(self, **settings: Any) -> None:
        """Change settings of the server, and of one that runs at once; None goes back to the server's default."""
        self.server.settings |= settings
        if self.running:
            reloads = self._reloads()
            self.server.write()
            _signal(self.pid, signal.SIGHUP)
            wait_until_sync(lambda: self._reloads() > reloads, what="the server's new configuration")

    def restart_with(self, **settings: Any) -> None:
        """Start it again on the same data with other settings."""
        self.stop()
        self.configure(**settings)
        self.start()

    def wipe(self) -> None:
        """Kill it, remove all streams and consumers, and start it again."""
        if self.running:
            self.kill9()
        shutil.rmtree(self.server.store)
        self.start()

    def _reloads(self) -> int:
        return self.server.log.read_text(errors="replace").count("Reloaded server configuration")


class Program(Process):
    """A process of our own, such as an aikid, with its output in files."""

    def __init__(self, command: Sequence[str], folder: Path, *, name: str, env: Mapping[str, str], cwd: Path) -> None:
        super().__init__()
        self.command = list(command)
        self.env = dict(env)
        self.cwd = cwd
        self.out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"

    def start(self) -> None:
        """Start it; it is not waited for."""
        kernel = ctypes.CDLL(None) if sys.platform == "linux" else None
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=(lambda: kernel.prctl(1, int(signal.SIGKILL))) if kernel else None,
            )

    def logged(self) -> str:
        """Return what it wrote to stderr since it was started."""
        return self.log.read_text(errors="replace")

    def printed(self) -> str:
        """Return what it wrote to stdout since it was started."""
        return self.out.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Wait until its log holds `text`. Raises AssertionError with the log if it ends before, or never says it."""

        def said() -> bool:
            if text in self.logged():
                return True
            assert self.running, (
                f"{self.command[0]} ended with {self.process and self.process.returncode}:\n{self.logged()}"
            )
            return False

        try:
            wait_until_sync(said, seconds, what=f"{text!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logged()}") from None

    def terminate(self, number: signal.Signals = signal.SIGTERM, seconds: float = READY_SECONDS) -> int:
        """Send `number`, wait for the end and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._reap()
            raise AssertionError(
                f"{self.command[0]} did not end within {patient(seconds):g} s:\n{self.logged()}"
            ) from None

    def wait(self, seconds: float = READY_SECONDS) -> int:
        """Wait for its end and return the exit code. Raises TimeoutExpired."""
        assert self.process is not None
        code = self.process.wait(patient(seconds))
        self.process = None
        return code

    def close(self) -> None:
        """End it at once, if it runs."""
        if self.running:
            self.kill9()
        self.process = None


class Aikid(Program):
    """An aikid as a real process."""

    READY = "aikid is ready"

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        nats_url: str,
        name: str = "aikid",
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.database_url = database_url
        self.nats_url = nats_url
        ours = {"AIKI_DATABASE_URL": database_url, "AIKI_NATS_URL": nats_url, **(env or {})}
        super().__init__(aikid_command(*arguments), folder, name=name, env=clean_environment(**ours), cwd=folder)

    def start(self) -> None:
        """Start it and wait until it serves."""
        super().start()
        self.wait_for_log(self.READY)

    def restart(self) -> None:
        """Stop it cleanly if it runs, and start it again."""
        if self.running:
            self.terminate()
        self.start()


def plain_user_command(command: Sequence[str]) -> list[str] | None:
    """Return a command line that runs `command` as a plain user, or None if that cannot be done here.

    As root this is `nobody`, who may still read everything: this interpreter often lies below a closed /root.
    """
    if os.geteuid() != 0:
        return list(command)
    if shutil.which("setpriv") is None:
        return None
    account = server_account()
    capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    ids = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--pdeathsig=KILL"]
    return ["setpriv", *ids, *capabilities, *command]


def aikid_command(*arguments: str) -> list[str]:
    """Return the command line of an aikid that runs in this interpreter."""
    return [sys.executable, "-m", "aikid", *arguments]


def clean_environment(**ours: str) -> dict[str, str]:
    """Return this process's environment without any AIKI_* variable, then with `ours`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIKI_")}
    return {**kept, **ours}


@contextmanager
def running_postgres(**options: Any) -> Iterator[Postgres]:
    """Run a Postgres in a folder of its own."""
    with server_folder() as folder:
        server = Postgres(folder, **options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def running_nats(**settings: Any) -> Iterator[Nats]:
    """Run a nats-server in a folder of its own, with `settings` of its configuration changed."""
    with server_folder() as folder:
        server = Nats(folder)
        server.configure(**settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


class Aikids:
    """Starts aikids for one test and ends them all at its end."""

    def __init__(self, folder: Path, *, database_url: str, nats_url: str) -> None:
        self._folder = folder
        self._database_url = database_url
        self._nats_url = nats_url
        self._stack = ExitStack()
        self.started: list[Aikid] = []

    def __call__(
        self,
        *,
        database_url: str | None = None,
        nats_url: str | None = None,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        start: bool = True,
    ) -> Aikid:
        """Return one more aikid on this test's servers, started unless `start` is false."""
        made = Aikid(
            self._folder,
            database_url=database_url or self._database_url,
            nats_url=nats_url or self._nats_url,
            name=f"aikid-{len(self.started)}",
            env=env,
            arguments=arguments,
        )
        self._stack.callback(made.close)
        self.started.append(made)
        if start:
            made.start()
        return made

    def close(self) -> None:
        """End them all at once."""
        self._stack.close()


def descendants(pid: int) -> list[int]:
    """Return the ids of all live descendants of a process (Linux)."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # the process ended while it was looked at
        for listing in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # one of its threads did
                children += [int(word) for word in listing.read_text().split()]
    return children


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
