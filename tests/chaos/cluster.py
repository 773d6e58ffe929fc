"""Own the servers of one scenario: who runs, with which failpoints armed, and what callers were told."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import anyio
import msgspec
import psycopg

import tests
from aiki import Client, Handle
from tests import servers
from tests.chaos import ledger
from tests.chaos.flows import GATES, SLOTS, mixed, mixed_result
from tests.chaos.promises import Expected, Summary, check_promises
from tests.servers import Aikid, Nats, Postgres, Program
from tests.servers.proxy import Proxy, running_proxy
from tests.waiting import patient, wait_until

ROOT = Path(next(iter(tests.__path__))).parent
LEASE = "1500ms"
LEASES = ["1s", "3s", *(["10s", "30s"] if os.environ.get("CHAOS_LONG") else [])]
"""What scenarios that hang on the lease are tried at: the shortest, the demo's, with CHAOS_LONG up to the default."""
PATIENCE = 40.0
"""Seconds: how long a scenario may take before it counts as stuck. Good ones take a few."""
OPEN_RUNS: LiteralString = """
SELECT r.id::text, r.state, r.workflow, r.epoch, r.due_at::text, r.why, now()::text,
  (SELECT array_agg(h.move || ' ' || h.at::time::text ORDER BY h.seq) FROM aiki.run_history h WHERE h.run_id = r.id)
FROM aiki.runs r WHERE r.namespace = %(ns)s AND r.state NOT IN ('completed', 'failed', 'cancelled')
"""


class Cluster:
    """A database and a nats-server of this scenario's own; daemons and workers are started as it goes."""

    def __init__(self, folder: Path, postgres: Postgres, nats: Nats, database_url: str) -> None:
        self.postgres = postgres
        self.nats = nats
        self.database_url = database_url
        self.namespace = f"t-{uuid.uuid4().hex[:8]}"
        self.expected = Expected()
        self._folder = folder
        self._stack = ExitStack()
        self._once = folder / "failpoints"
        self._gates = folder / "gates"
        self._ledger = folder / "ledger"
        self._names = 0
        self._number = 0
        self._once.mkdir()
        self._gates.mkdir()

    def close(self) -> None:
        """End everything that was started."""
        self._stack.close()

    # -- processes

    def aikid(self, failpoints: str = "", *, start: bool = True, database_url: str | None = None) -> Aikid:
        """Start an aikid."""
        made = Aikid(
            self._folder,
            database_url=database_url or self.database_url,
            nats_url=self.nats.url,
            name=self._name("aikid"),
            env=self._armed(failpoints),
            arguments=["--log-level", "debug"],
        )
        self._stack.callback(made.close)
        if start:
            made.start()
        return made

    def aikids(self, *failpoints: str) -> list[Aikid]:
        """Start several aikids at once, one for each text of failpoints."""
        made = [self.aikid(points, start=False) for points in failpoints]
        for one in made:
            Program.start(one)
        for one in made:
            one.wait_for_log(Aikid.READY)
        return made

    def worker(self, failpoints: str = "", *arguments: str, start: bool = True, url: str | None = None) -> Worker:
        """Start a worker; `url` is where it finds NATS, if not where all others do."""
        name = self._name("worker")
        given = arguments or ("--lease", LEASE)
        self.expected.slots[name] = int(given[given.index("--slots") + 1]) if "--slots" in given else SLOTS
        command = [sys.executable, "-m", "tests.chaos.worker_main", name, *given]
        given_env = {"AIKI_URL": url or self.nats.url, ledger.WORKER: name, **self._armed(failpoints)}
        made = self._worker(command, name, given_env)
        if start:
            made.start()
        return made

    def fleet(self, *arguments: str) -> Worker:
        """Return a worker as `aiki worker start` runs it, or with `--processes` several, to be launched."""
        command = [sys.executable, "-m", "aiki_cli", "worker", "start", "-m", "tests.chaos.flows", *arguments]
        return self._worker(command, self._name("fleet"), {})

    def proxy(self) -> Proxy:
        """Start a proxy before the nats-server; hand its `url` to a worker."""
        return self._stack.enter_context(running_proxy(self.nats.server.port))

    def enqueuer(self, count: int, failpoints: str = "") -> Program:
        """Start a client process that enqueues `count` runs by key; `tell_of` reads what it was told."""
        env = {"AIKI_URL": self.nats.url, "AIKI_NAMESPACE": self.namespace, **self._armed(failpoints)}
        made = Program(
            [sys.executable, "-m", "tests.chaos.enqueue_main", str(count)],
            self._folder,
            name=self._name("client"),
            env=servers.clean_environment(**env),
            cwd=ROOT,
        )
        self._stack.callback(made.close)
        made.start()
        return made

    def tell_of(self, enqueuer: Program) -> int:
        """Take what a client process was told into what is expected; return how many runs that were."""
        lines = [line.split() for line in enqueuer.printed().splitlines()]
        for n, run_id in lines:
            self.expected.results[run_id] = mixed_result(int(n))
            self.expected.keys.setdefault(f"order-{n}", set()).add(run_id)
        return len(lines)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect a client."""
        async with Client.connect(self.nats.url, namespace=self.namespace) as client:
            yield client

    # -- failpoints, gates, effects

    def reached(self, point: str) -> bool:
        """Tell whether an armed failpoint has acted."""
        return (self._once / point).exists()

    def let_go(self, point: str) -> None:
        """Let the thread that is blocked at a failpoint go on."""
        (self._once / point).unlink()

    def begun(self, gate: str) -> list[str]:
        """Return the workers in which a task has come to the gate."""
        return sorted(path.name.rpartition(".")[2] for path in self._gates.glob(f"{gate}.begun.*"))

    @property
    def gates(self) -> Path:
        """The folder of the gates, where tasks leave what they have seen, too."""
        return self._gates

    def open(self, gate: str) -> None:
        """Let the tasks at the gate go on."""
        (self._gates / gate).touch()

    def effects(self) -> list[ledger.Effect]:
        """Return what tasks did so far."""
        return ledger.read(self._ledger)

    # -- load

    async def enqueue(self, client: Client) -> Handle[list[int]]:
        """Enqueue one more `mixed` run, every other one by key."""
        n = self._number = self._number + 1
        key = f"load-{n}" if n % 2 else None
        handle = await mixed.options(idempotency_key=key).enqueue(client, n)
        self.expected.results[handle.run_id] = mixed_result(n)
        if key is not None:
            self.expected.keys.setdefault(key, set()).add(handle.run_id)
        return handle

    async def load(self, client: Client, runs: int = 24, *, until: Callable[[], bool] = lambda: True) -> None:
        """Enqueue runs, four at a time, until there are as many; then more, a few at a time, until `until` is true."""
        while len(self.expected.results) < runs:
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(self.enqueue, client)

        with anyio.fail_after(patient(PATIENCE)):
            while not until():
                await self.enqueue(client)
                await anyio.sleep(0.01)

    async def finish(self, client: Client) -> Summary:
        """Wait until all runs that callers were told of have ended, then check the promises."""
        try:
            with anyio.fail_after(patient(PATIENCE)):
                for run_id, result in self.expected.results.items():
                    assert await client.handle(run_id).result() == result
        except TimeoutError:
            raise AssertionError(f"runs do not end: {self.query(OPEN_RUNS)[:5]}") from None
        return await self.check()

    async def check(self) -> Summary:
        """Check the promises, once all runs of the namespace have ended."""

        await wait_until(lambda: not self.query(OPEN_RUNS), PATIENCE, what="the end of all runs")
        summary = check_promises(self.database_url, self.namespace, self.effects(), self.expected)
        _count(summary)
        return summary

    def query(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """Run one statement on the database; `%(ns)s` is this scenario's namespace."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, {"ns": self.namespace})
            return cursor.fetchall() if cursor.description else []

    def state_of(self, run_id: str) -> str:
        """Return the run's state as Postgres has it."""
        states: dict[str, str] = dict(self.query("SELECT id::text, state FROM aiki.runs WHERE namespace = %(ns)s"))
        return states[run_id]

    # -- private

    def _worker(self, command: list[str], name: str, env: dict[str, str]) -> Worker:
        ours = {
            "AIKI_URL": self.nats.url,
            "AIKI_NAMESPACE": self.namespace,
            ledger.LEDGER: str(self._ledger),
            GATES: str(self._gates),
            "PYTHONHASHSEED": "0",
            **env,
        }
        made = Worker(command, self._folder, name=name, env=servers.clean_environment(**ours), cwd=ROOT)
        self._stack.callback(made.close)
        return made

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    def _armed(self, failpoints: str) -> dict[str, str]:
        if not failpoints:
            return {}
        return {"AIKI_FAILPOINTS": failpoints, "AIKI_FAILPOINTS_ONCE": str(self._once)}

    def stop_jetstream(self) -> None:
        """Start the nats-server again without JetStream: requests and replies work, hints do not."""
        self.nats.restart_with(jetstream=None)


def _count(summary: Summary) -> None:
    if counts := os.environ.get("CHAOS_COUNTS"):
        with Path(counts).open("ab") as file:
            file.write(msgspec.json.encode(summary) + b"\n")


class Worker(Program):
    """A worker as a real process."""

    @property
    def name(self) -> str:
        """Its name, as the daemon and the ledger know it."""
        return self.env[ledger.WORKER]

    def launch(self) -> None:
        """Start it without waiting for its session."""
        super().start()

    def start(self) -> None:
        """Start it and wait until its session is open."""
        self.launch()
        self.wait_for_log("serves")

    def drain(self) -> None:
        """Ask it to drain, and do not wait for it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)


def is_frozen(program: Program) -> bool:
    """Tell whether a process is stopped by SIGSTOP."""
    stat = Path(f"/proc/{program.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
