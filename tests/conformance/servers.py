"""Own the stage of real servers: a daemon of this process, a worker, Postgres and NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import psycopg

from aiki import Client, Worker, Workflow
from aiki.core.duration import Duration, to_microseconds
from aiki.execution.phases import Phase
from aiki.testing.ways import LEAVING
from aiki.wire.messages import Request
from aikid.app import App
from tests.conformance.clock import Clock
from tests.integration.daemon.asking import running_app
from tests.parts import parts
from tests.waiting import wait_until

R = TypeVar("R")

# Whatever moves by itself without its worker. Errands and what is due are everybody's: one stage plays at a time.
_MOVING: Final = """
SELECT (SELECT count(*) FROM aiki.errands)
  + (SELECT count(*) FROM aiki.deadlines WHERE look_at <= aiki.now())
  + (SELECT count(*) FROM aiki.schedules WHERE due_at <= aiki.now())
  + (SELECT count(*) FROM aiki.runs
     WHERE state IN ('scheduled', 'sleeping', 'retrying', 'waiting') AND due_at <= aiki.now()),
  (SELECT count(*) FROM aiki.runs WHERE state = 'queued' AND namespace = %(namespace)s),
  (SELECT count(*) FROM aiki.runs WHERE state = 'running' AND namespace = %(namespace)s),
  (SELECT count(*) FROM aiki.task_key_waiters WHERE namespace = %(namespace)s AND told_at IS NULL)
"""


@dataclass
class House:
    """What the scenarios of a module share."""

    app: App
    nats_url: str
    database: str
    clock: Clock

    @asynccontextmanager
    async def stage(self, namespace: str, workflows: Sequence[Workflow[..., Any]]) -> AsyncIterator[ServerStage]:
        """Open a namespace in it for one scenario."""
        connecting = psycopg.AsyncConnection.connect(self.database, autocommit=True)
        async with Client.connect(self.nats_url, namespace=namespace) as client, await connecting as connection:
            made = ServerStage(self, client, connection, workflows)
            await self.clock.begin(connection)
            await made.start_worker()
            try:
                yield made
            finally:
                await made.stop_worker()


@asynccontextmanager
async def house(database: str, nats_url: str) -> AsyncIterator[House]:
    """Run a daemon on a database whose clock stands."""
    clock = Clock(database)
    await clock.stop()
    async with running_app(database, nats_url) as app:
        yield House(app, nats_url, database, clock)


class ServerStage:
    """A namespace on real servers."""

    def __init__(
        self,
        house: House,
        client: Client,
        connection: psycopg.AsyncConnection[Any],
        workflows: Sequence[Workflow[..., Any]],
    ) -> None:
        self._house = house
        self._connection = connection
        self._workflows = workflows
        self._worker: Worker | None = None
        self.client = client

    async def settle(self) -> None:
        """Return when nothing moves before a date or a word from outside."""
        await wait_until(self._is_at_rest, 5, what="a state in which nothing moves")

    async def advance(self, by: Duration) -> None:
        """Let so much time pass, and all that is due meanwhile happen in its order."""
        clock = self._house.clock
        end = clock.now + to_microseconds(by)
        await self.settle()
        while (due := await self._next_due()) is not None and due <= end:
            await self._move(due)
        await self._move(end)

    async def miss(self, by: Duration) -> None:
        """Let so much time pass at once, as while no daemon runs: what was due meanwhile is late."""
        await self._move(self._house.clock.now + to_microseconds(by))

    async def crash_worker(self) -> None:
        """Kill the worker: what it has not recorded is lost. Another one takes its place at once."""
        assert self._worker is not None
        serving, crashed = parts(self._worker), self._worker
        serving.claiming.cancel()
        serving.runs.drop(serving.session.lease)
        statement = b"UPDATE aiki.sessions SET expires_at = aiki.now() - interval '1 us' WHERE id = %s"
        await self._connection.execute(statement, [serving.session.lease.session])
        await self._house.app.rescuer.run_once()
        await crashed.__aexit__(None, None, None)
        await self.start_worker()

    async def call(self, request: Request[R]) -> R:
        """Return what the engine answers to somebody else than its client and its worker."""
        return await self.client.transport.call(request)

    async def stop_worker(self) -> None:
        """Let the worker drain and go: nobody serves."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.__aexit__(None, None, None)

    async def start_worker(self) -> None:
        """Have a worker serve again."""
        # What looks after a second for hints that got lost goes by the clock that stands: the worker asks by itself.
        options: dict[str, Any] = {"id": "test", "linger": "0s", "idle_poll": "100ms"}
        worker = Worker(self.client, workflows=self._workflows, **options)
        worker._options = replace(worker._options, limits=LEAVING)
        self._worker = await worker.__aenter__()

    async def _move(self, to: int) -> None:
        await self._house.clock.move(self._connection, to)
        if self._worker is not None:
            runs = parts(self._worker).runs
            runs.clock.told(to)
            for run in list(runs.by_id.values()):
                run._turns.stop_alarm()
                run._turns._ring()
        await self._look()
        await self.settle()

    async def _look(self) -> None:
        await self._house.app.waker.run_once()
        await self._house.app.scheduler.run_once()

    async def _next_due(self) -> int | None:
        due = [await self._house.clock.next_due(self._connection), *self._alarms()]
        return min((at for at in due if at is not None and at > self._house.clock.now), default=None)

    def _alarms(self) -> list[int]:
        """Return when runs that wait in memory go on."""
        return (
            []
            if self._worker is None
            else [
                run._turns._alarm_at for run in parts(self._worker).runs.by_id.values() if run._turns._alarm is not None
            ]
        )

    async def _is_at_rest(self) -> bool:
        row = await (
            await self._connection.execute(_MOVING.encode(), {"namespace": self.client.transport.namespace})
        ).fetchone()
        assert row is not None
        moving, queued, running, waiting = row
        if moving:
            await self._look()
            return False
        if self._worker is None:
            return not running
        lingering = [run for run in parts(self._worker).runs.by_id.values() if run._life.phase is Phase.LINGERING]
        if queued or running > len(lingering):
            return False
        if waiting:
            await self._house.app.keys.run_once()
        return not waiting or await self._waiting() == waiting

    async def _waiting(self) -> int:
        """Return how many wait for a key of a task, and have not been told that they may ask again."""
        found = await self._connection.execute(_MOVING.encode(), {"namespace": self.client.transport.namespace})
        row = await found.fetchone()
        assert row is not None
        return int(row[3])
