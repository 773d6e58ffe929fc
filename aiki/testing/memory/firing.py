"""Own how schedules fire: by their time, at a person's word, or for slots that lie behind."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.core.moments import SECOND
from aiki.rules import scheduling
from aiki.rules.calendar import fires_at, slots
from aiki.rules.checking import check_run
from aiki.rules.scheduling import AGAIN, Decided, Decision
from aiki.testing.memory import cancels, enqueue
from aiki.testing.memory.schedule import Idle, Schedule, SlotRow
from aiki.testing.memory.slots import Stand, stand, told
from aiki.testing.memory.store import Store
from aiki.wire.messages import (
    BackfillSchedule,
    CancelNote,
    Fired,
    FiredReply,
    NewRun,
    Slot,
    TriggerSchedule,
)

_LATER: Final = 60 * SECOND
"""A schedule that cannot be decided, since its zone is unknown here, is looked at again after this."""


def fire_due(store: Store) -> None:
    """Fire all schedules that are due."""
    for schedule in [*store.schedules.values()]:
        while (at := look_at(store, schedule)) is not None and at <= store.now():
            here, ends = stand(store, schedule), store.ends
            decision = _decide(here)
            carry_out(store, here, decision)
            schedule.place(decision)
            schedule.idle = _idle(schedule, ends)


def look_at(store: Store, schedule: Schedule) -> int | None:
    """Return when a schedule is looked at again.

    While a slot of it waits that is each second, as in aikid; but seconds in which nothing can be found are passed
    over, for a test lets days go by.
    """
    idle, at = schedule.idle, schedule.look_at
    if idle is None or at is None:
        return at
    if store.ends == idle.ends:
        return idle.fires_at
    at += max(0, -(-(store.now() - at) // AGAIN)) * AGAIN
    return at if idle.fires_at is None else min(at, idle.fires_at)


def _idle(schedule: Schedule, ends: int) -> Idle | None:
    if not any(row.result == "queued" for row in schedule.unfinished()):
        return None
    spec = schedule.declared.spec
    following = next(slots(spec, schedule.decided), None)
    return Idle(ends, None if following is None else fires_at(spec, schedule.declared.id, following))


def _decide(here: Stand) -> Decision:
    schedule = here.schedule
    try:
        return scheduling.decide(here.look)
    except AikiError:
        return Decision(decided=schedule.decided, zones=schedule.zones, look_at=here.now + _LATER)


def trigger(store: Store, request: TriggerSchedule) -> FiredReply:
    """Fire a schedule now: the request's id is that of the run, by which a repeat finds it."""
    schedule = store.schedules.get(request.name)
    if schedule is None:
        return FiredReply(known=False)
    rows = schedule.slots.values()
    row = next((row for row in rows if row.kind == "trigger" and row.run_id == request.id), None)
    if row is None:
        here = stand(store, schedule)
        decided = scheduling.trigger(here.look, schedule.last("trigger"))
        row = _carry_out(store, here, decided, run_id=request.id)
    return FiredReply([] if row is None else [told(store, row)])


def backfill(store: Store, request: BackfillSchedule) -> FiredReply:
    """Fire slots that lie behind and have no run, or say which these are. Raises UsageError for too many."""
    schedule = store.schedules.get(request.name)
    if schedule is None:
        return FiredReply(known=False)
    here = stand(store, schedule)
    taken = {row.slot for row in schedule.slots.values() if _is_taken(row)}
    decision = scheduling.backfill(here.look, request.start, request.end, overlap=request.overlap, taken=taken)
    if request.dry_run:
        return FiredReply([Slot(row.slot, row.result, store.now(), row.kind, row.reason) for row in decision.rows])
    carry_out(store, here, decision)
    schedule.place(decision)
    rows = sorted(schedule.slots.values(), key=lambda row: row.slot)
    within = [row for row in rows if row.kind == "backfill" and request.start <= row.slot < request.end]
    return FiredReply([told(store, row) for row in within])


def _is_taken(row: SlotRow) -> bool:
    return row.kind != "trigger" and row.result in ("started", "queued")


def carry_out(store: Store, here: Stand, decision: Decision) -> None:
    """Cancel the runs before, note what becomes of slots, and enqueue their runs."""
    if decision.cancels:
        note = CancelNote(actor=scheduling.ACTOR.format(here.schedule.declared.name))
        for run in here.untold:
            cancels.cancel(store, run, note)
    for decided in decision.rows:
        _carry_out(store, here, decided)


def _carry_out(store: Store, here: Stand, decided: Decided, *, run_id: str | None = None) -> SlotRow | None:
    schedule = here.schedule
    row = schedule.put(decided, store.now())
    if row is None or row.result != "started":
        return row
    id = run_id or scheduling.fired_run_id(schedule.declared.id, row.kind, row.slot)
    why = _enqueue(store, schedule, row, id)
    if why is None:
        row.run_id, row.is_open = id, True
    else:
        row.result, row.reason = "failed", why
    return row


def _enqueue(store: Store, schedule: Schedule, row: SlotRow, run_id: str) -> str | None:
    """Enqueue the run of a slot; return why that is refused, if it is."""
    one = schedule.declared
    run = NewRun(run_id, one.workflow, one.version, one.input, one.options)
    try:
        check_run(run, room=store.room)
    except AikiError as error:
        return error.message
    if run_id in store.runs:
        return f"run id {run_id} is in use"
    fired = Fired(schedule=one.name, slot=row.slot, last_completed=schedule.last_completed, kind=row.kind)
    enqueue.bear(store, replace(run, options=replace(one.options, fired=fired)))
    return None
