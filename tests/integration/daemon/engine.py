"""What a daemon's tests do over and over, on the engine's functions and a real Postgres, without NATS."""

from __future__ import annotations

import itertools
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from msgspec import Raw

from aiki.core.errors import AikiError
from aiki.core.ids import uuid7
from aiki.core.states import ENQUEUED, Move, State
from aiki.rules.deadlines import Step
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Attempt,
    Claim,
    Claimed,
    ClaimReply,
    CloseSession,
    End,
    Enqueue,
    Enqueued,
    EnqueueReply,
    Entry,
    Fence,
    Inbox,
    InboxReply,
    NewRun,
    OpenSession,
    Outcome,
    Park,
    Parked,
    Record,
    Recorded,
    RecordReply,
    RenewSession,
    Route,
    RunOptions,
    RunStatus,
    Send,
    SendOp,
    SendReply,
    Sent,
    SessionReply,
    Unit,
)
from aikid.engine import arrivals, claims, enqueue, record, sessions, status
from aikid.engine.changes import Done
from aikid.engine.leaves import Leaves
from aikid.engine.routes import Routes
from aikid.store import deadlines, options, rescue, timers
from aikid.store.pool import Pool
from aikid.store.rescue import Lost, Rescued, Swept
from aikid.tell.watchers import Watchers
from tests.waiting import wait_until

WORKFLOW, VERSION = "flow", "1.0"
VALUE = Raw(b'"value"')


def new_id(*, hours: int = 0) -> str:
    """Return the id of a client whose clock is so many hours ahead."""
    milliseconds = time.time_ns() // 1_000_000 + hours * 3_600_000
    return str(uuid7(milliseconds=milliseconds, random_bits=secrets.randbits(74)))


def new_run(**fields: Any) -> NewRun:
    """Return a run of the tests' workflow with these members and options."""
    options = {name: fields.pop(name) for name in RunOptions.__struct_fields__ if name in fields}
    run = {"id": new_id(), "workflow": WORKFLOW, "version": VERSION, "input": Raw(b"{}")} | fields
    return NewRun(**run, options=RunOptions(**options))


def entry(name: str = "a", value: Raw = VALUE, *, at: int = 1_000_000) -> Entry:
    return Entry(f"task:{name}:0:0", True, value, at)


def unit(
    fence: Fence, base: int = 0, *entries: Entry, end: End | None = None, attempts: Sequence[Attempt] = ()
) -> Unit:
    return Unit(fence, base, list(entries), list(attempts), end)


def event(run_id: str, name: str = "approved", value: bytes = b'"yes"', **fields: Any) -> Sent:
    """Return an event to send."""
    return Sent(**({"run_id": run_id, "id": new_id(), "name": name, "value": Raw(value)} | fields))


def op(run_id: str, name: str = "approved", value: bytes = b'"yes"', **fields: Any) -> SendOp:
    """Return an event for a unit to send."""
    return SendOp(**({"id": new_id(), "run_id": run_id, "name": name, "value": Raw(value)} | fields))


def parked(seen: int, *waits: str, due_at: int | None = None, ends: int | None = None) -> End:
    """Return a park that waits for these arrivals, and for so many ends of children."""
    return End(Move.WAIT, due_at=due_at, seen=seen, waits=list(waits), ends=ends)


def onward(input: bytes = b'{"n":1}', **fields: Any) -> End:
    """Return the end of a generation, and with it the input of the next."""
    return End(**({"move": Move.CONTINUE, "input": Raw(input)} | fields))


def completed(output: bytes = b'"done"') -> End:
    return End(Move.COMPLETE, output=Raw(output))


class Engine:
    """One daemon's engine for one namespace."""

    def __init__(self, database: str, namespace: str = "default") -> None:
        self.database = database
        self.namespace = namespace
        self.room = MESSAGE_BYTES
        """The bytes of a message, as its server would say."""
        # Who waits for a row keeps its place: on a busy machine two take longer to begin than a statement waits.
        with patch.dict(options.HOT, lock_timeout="2s"):
            self.pool = Pool(database, size=4)
        self.watchers = Watchers()
        self.met: list[tuple[str, str, str]] = []
        self.routes = Routes(self.pool, self.met.extend)
        self.answers: list[Parked] = []
        """What workers were told after their parks."""
        self.leaves = Leaves(lambda line: self.answers.append(line.answer()))
        self._serials = itertools.count()

    async def enqueue(self, *runs: NewRun) -> list[Enqueued]:
        (reply,) = (await self.carry_out(Enqueue(list(runs)))).replies
        assert not isinstance(reply, Exception)
        return reply.runs

    async def carry_out(self, *requests: Enqueue) -> Done[EnqueueReply | AikiError]:
        """Enqueue what the requests say in one commit, and return all that comes of it."""
        calls = [(self.namespace, request) for request in requests]
        return await enqueue.enqueue(self.pool, self.routes, calls, room=self.room, leaves=self.leaves)

    async def queued_run(self, **fields: Any) -> str:
        run = new_run(**fields)
        (done,) = await self.enqueue(run)
        assert done.error is None
        return done.id

    async def session(self, *, ttl: float = 30.0, worker: str = "worker-1", routes: Sequence[Route] = ()) -> str:
        session = str(uuid.uuid4())
        request = OpenSession(session, worker, list(routes) or [Route(WORKFLOW, VERSION)], ttl)
        assert (await sessions.open_session(self.pool, self.routes, self.namespace, request, room=MESSAGE_BYTES)).alive
        return session

    def park(self, session: str, upto: int = 0, *, line: str | None = None, **fields: Any) -> Parked:
        """Let so many runs be handed over, all in all, and return the answer; on `line`, or on the session's own."""
        if line is None:
            line = self.park(session, 0, line="").line if upto else ""
        given: dict[str, Any] = {
            "inbox": f"_INBOX.{session}",
            "serial": next(self._serials),
            "until": time.time_ns() // 1000 + 10_000_000,
            "free": 10,
            "routes": [(WORKFLOW, VERSION)],
            "leaves": {line: upto},
        }
        self.leaves.parked(self.namespace, Park(session=session, **(given | fields)))
        return self.answers[-1]

    async def renew(
        self, session: str, *held: str, after: str = "", until: str | None = None, counts: Sequence[int] = ()
    ) -> SessionReply:
        request = (self.namespace, RenewSession(session, list(held), after, until, list(counts)))
        (reply,) = await sessions.renew_sessions(self.pool, [request], room=self.room)
        assert isinstance(reply, SessionReply)
        return reply

    async def close(self, session: str) -> list[str]:
        done = await sessions.close_session(self.pool, self.namespace, CloseSession(session))
        return [*done.changes.changed[self.namespace], *done.changes.settled[self.namespace]]

    async def claim_reply(
        self, session: str, *, limit: int = 10, routes: Sequence[tuple[str, str]] = ((WORKFLOW, VERSION),)
    ) -> ClaimReply:
        request = Claim(session, uuid.uuid4().hex, list(routes), limit)
        return await claims.claim(self.pool, self.namespace, request, room=self.room)

    async def claim(self, session: str, *, limit: int = 10) -> list[Claimed]:
        return (await self.claim_reply(session, limit=limit)).runs

    async def claim_one(self, session: str | None = None) -> Claimed:
        (run,) = await self.claim(session or await self.session(), limit=1)
        return run

    async def record(self, *units: Unit) -> list[Recorded]:
        (reply,) = (await self.recorded(*units)).replies
        if isinstance(reply, AikiError):
            raise reply
        return reply.units

    async def recorded(self, *units: Unit) -> Done[RecordReply | AikiError]:
        """Record the units in one request, and return all that comes of it."""
        calls = [(self.namespace, Record(list(units)))]
        return await record.record(
            self.pool, calls, self.watchers, room=self.room, routes=self.routes, leaves=self.leaves
        )

    async def send(self, *events: Sent) -> list[Outcome]:
        return (await self.sent(*events)).replies[0].outcomes

    async def sent(self, *events: Sent) -> Done[SendReply]:
        """Send the events in one request, and return all that comes of it."""
        return await arrivals.send(self.pool, [(self.namespace, Send(list(events)))], room=self.room)

    async def inbox(self, run_id: str, after: int = 0) -> InboxReply:
        return await arrivals.inbox(self.pool, self.namespace, Inbox(run_id, after), room=self.room)

    async def results(self, *units: Unit) -> list[str]:
        return [one.result for one in await self.record(*units)]

    async def status(self, run_id: str) -> RunStatus:
        found = await status.statuses(self.pool, [(self.namespace, run_id)])
        return found[self.namespace, run_id]

    async def state(self, run_id: str) -> State:
        return (await self.status(run_id)).state

    async def wake(self) -> list[str]:
        return [row[3] for row in await self.pool.run(lambda c: timers.wake(c, limit=500))]

    async def pass_deadlines(self) -> dict[str, Step]:
        """Let deadlines that have passed do what they do; return what that is, by run."""
        return {one.id: one.step for one in await self.pool.run(lambda c: deadlines.pass_due(c, limit=500))}

    async def sweep(self) -> Swept:
        return await self.pool.run(rescue.sweep)

    async def rescue(self) -> list[Rescued]:
        """Sweep as the rescuer does, and look at all running runs."""
        await self.sweep()
        taken: list[Rescued] = []
        for lost in (Lost.OF_CLOSED, Lost.ORPHANS):
            await self.pool.run(lambda c, lost=lost: rescue.fence(c, lost))  # type: ignore[misc]
            taken += await self.pool.run(lambda c, lost=lost: rescue.take(c, lost))  # type: ignore[misc]
        return taken

    async def expire(self, session: str) -> None:
        """Let a lease run out, with daemons that swept all the time."""
        await self.execute("UPDATE aiki.sweeps SET swept_at = now()")
        await self.execute("UPDATE aiki.sessions SET expires_at = now() - interval '1 ms' WHERE id = %s", session)

    async def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.database, autocommit=True) as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def history(self, run_id: str) -> list[str]:
        rows = await self.execute("SELECT seq, move FROM aiki.run_history WHERE run_id = %s ORDER BY seq", run_id)
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
        return [ENQUEUED, *(move for _, move in rows)]

    async def until_waiting(self, count: int = 1) -> None:
        """Return once some statement waits for a lock, or so many."""

        async def waiting() -> Any:
            sql = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            return (await self.execute(sql))[0][0] >= count

        await wait_until(waiting, what="no statement waits for a lock")

    async def journal(self, run_id: str) -> list[tuple[int, str, bytes]]:
        return await self.execute("SELECT seq, key, value FROM aiki.journal WHERE run_id = %s ORDER BY seq", run_id)


@asynccontextmanager
async def running_engine(database: str, namespace: str = "default") -> AsyncIterator[Engine]:
    engine = Engine(database, namespace)
    try:
        yield engine
    finally:
        await engine.pool.aclose()


@asynccontextmanager
async def locked(database: str, statement: str, *parameters: Any) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Hold what `statement` locks in an open transaction; it is rolled back unless the body commits it."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(statement.encode(), parameters)
        yield connection
        await connection.rollback()


STORED_BESIDE = """
WITH known AS (
  INSERT INTO aiki.routes (namespace, workflow, version) SELECT DISTINCT namespace, workflow, version FROM aiki.runs
  ON CONFLICT DO NOTHING
), held AS (
  INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest)
  SELECT namespace, workflow, key, id, digest FROM aiki.runs WHERE key IS NOT NULL
  ON CONFLICT DO NOTHING
), listed AS (
  INSERT INTO aiki.listing (namespace, created_at, run_id, tail)
  SELECT namespace, created_at, id, ('x' || right(id::text, 8))::bit(32)::int FROM aiki.runs r
  WHERE NOT EXISTS (SELECT FROM aiki.listing l WHERE l.run_id = r.id)
)
INSERT INTO aiki.ended (namespace, workflow, version, state, created_at, run_id)
SELECT namespace, workflow, version, state, created_at, id FROM aiki.runs r
WHERE state IN ('completed', 'failed', 'cancelled') AND NOT EXISTS (SELECT FROM aiki.ended e WHERE e.run_id = r.id)
"""
"""Writes what stands beside runs that were inserted by hand, where it is missing."""
