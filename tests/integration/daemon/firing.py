"""Own what tests of schedules do over and over: they are declared, time passes, and they fire."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.wire.messages import (
    BackfillSchedule,
    FiredReply,
    NewSchedule,
    PutReply,
    PutSchedule,
    RunOptions,
    ScheduleInfo,
    ScheduleReply,
    ShowSchedule,
    Slot,
    Spec,
    TriggerSchedule,
)
from aikid.engine import firing, schedule_reads, schedules, triggers
from aikid.engine.changes import Changes
from tests.conformance.clock import Clock
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, new_id

HOUR = 3_600 * SECOND
HOUR_SECONDS = 3_600


def declared(name: str = "nightly", *, options: RunOptions | None = None, **fields: Any) -> NewSchedule:
    """Return a schedule that fires every hour; spec and declaration by their members."""
    given = {member: fields.pop(member) for member in Spec.__struct_fields__ if member in fields}
    if not given.keys() & {"cron", "every", "at"}:
        given["every"] = HOUR
    made = {"id": str(uuid.uuid4()), "workflow": WORKFLOW, "version": VERSION, "input": Raw(b"{}")} | fields
    return NewSchedule(name=name, spec=Spec(**given), options=options or RunOptions(), **made)


async def put(engine: Engine, schedule: NewSchedule, *, update: bool = False) -> PutReply:
    """Declare a schedule, and return the answer."""
    request = PutSchedule(schedule, update)
    done = await schedules.put(engine.pool, engine.routes, engine.namespace, request, room=engine.room)
    (reply,) = done.replies
    if isinstance(reply, Exception):
        raise reply
    return reply


class Standing:
    """The clock of an engine's database: it stands still until it is told to go on. The first slot is its beginning."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = Clock(engine.database)

    @property
    def now(self) -> int:
        return self._clock.now

    async def stop(self) -> None:
        await self._clock.stop()

    async def go_on(self, seconds: float) -> int:
        """Let so much time pass, or come back, and return what the clock shows then."""
        async with await psycopg.AsyncConnection.connect(self._engine.database, autocommit=True) as connection:
            await self._clock.move(connection, self.now + round(seconds * SECOND))
        return self.now


async def fire(engine: Engine) -> Changes:
    """Fire what is due; return what that changed."""
    changes = Changes()
    async for one in firing.fire_due(engine.pool, room=engine.room):
        changes.add(one)
    return changes


async def show(engine: Engine, name: str = "nightly", *, slots: int = 20) -> ScheduleReply:
    reply = await schedule_reads.answer(engine.pool, engine.namespace, ShowSchedule(name, slots), room=engine.room)
    assert isinstance(reply, ScheduleReply)
    return reply


async def latest(engine: Engine, name: str = "nightly") -> list[Slot]:
    """Return what became of its slots, the oldest first."""
    return (await show(engine, name)).slots[::-1]


async def info(engine: Engine, name: str = "nightly") -> ScheduleInfo:
    """Return how a schedule stands that is there."""
    found = (await show(engine, name)).info
    assert found is not None
    return found


async def fired(engine: Engine, name: str = "nightly") -> list[tuple[str, str]]:
    """Fire what is due, and return what has become of a schedule's slots: result and reason, the oldest first."""
    await fire(engine)
    return [(slot.result, slot.reason) for slot in await latest(engine, name)]


async def trigger(engine: Engine, name: str = "nightly", *, id: str | None = None) -> FiredReply:
    request = TriggerSchedule(name, id or new_id())
    (reply,) = (await triggers.trigger(engine.pool, engine.namespace, request, room=engine.room)).replies
    return reply


async def backfill(engine: Engine, start: int, end: int, name: str = "nightly", **how: Any) -> FiredReply:
    request = BackfillSchedule(name=name, start=start, end=end, **how)
    (reply,) = (await triggers.backfill(engine.pool, engine.namespace, request, room=engine.room)).replies
    if isinstance(reply, Exception):
        raise reply
    return reply
