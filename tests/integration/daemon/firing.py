"""Own what tests of schedules do over and over: they are declared, time passes, and they fire."""

from __future__ import annotations

import uuid
from typing import Any

from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.wire.messages import (
    BackfillSchedule,
    FiredReply,
    NewSchedule,
    PutReply,
    PutSchedule,
    RunOptions,
    ScheduleReply,
    ShowSchedule,
    Slot,
    Spec,
    TriggerSchedule,
)
from aikid.engine import firing, schedule_reads, schedules, triggers
from aikid.engine.changes import Changes
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, new_id

HOUR = 3_600 * SECOND


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


async def now(engine: Engine) -> int:
    """Return the database's clock."""
    ((moment,),) = await engine.execute("SELECT (extract(epoch FROM aiki.now()) * 1000000)::bigint")
    return int(moment)


async def pass_time(engine: Engine, seconds: float) -> None:
    """Have all schedules be as far behind as if so much time had passed since they were decided last."""
    await engine.execute(
        "UPDATE aiki.schedules SET decided_us = decided_us - %s, due_at = due_at - %s * interval '1 s'",
        int(seconds * SECOND),
        seconds,
    )


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
