"""Own what is declared, ordered and asked of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Literal

from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.rules import declaring, scheduling
from aiki.rules.declaring import Known
from aiki.rules.scheduling import Look
from aiki.testing.memory.firing import carry_out
from aiki.testing.memory.schedule import Schedule
from aiki.testing.memory.slots import Stand, stand, told
from aiki.testing.memory.store import Store
from aiki.wire.limits import LIST_ITEMS
from aiki.wire.messages import (
    ApplyReply,
    ApplySchedules,
    ListSchedules,
    NewSchedule,
    NextReply,
    NextSlots,
    OrderSchedules,
    PutReply,
    PutSchedule,
    ScheduleChange,
    ScheduleInfo,
    ScheduleOrdered,
    ScheduleOrderReply,
    ScheduleReply,
    SchedulesReply,
    ShowSchedule,
)

_RESULTS: Final[Mapping[str, Literal["created", "updated", "unchanged", "exists"]]] = {
    "create": "created",
    "update": "updated",
    "unchanged": "unchanged",
    "refused": "exists",
}

# -- declarations


def put(store: Store, request: PutSchedule) -> PutReply:
    """Create a schedule, or change it. Raises UsageError and PayloadError for one that can never fire."""
    new = request.schedule
    _check(store, [new])
    change = declaring.put(_known(store).get(new.name), new, update=request.update)
    _carry_out(store, [change], {new.name: new})
    schedule = store.schedules.get(new.name)
    if schedule is None:
        return PutReply("unknown", reason=change.reason)
    return PutReply(_RESULTS[change.action], _info(store, schedule), change.reason)


def apply(store: Store, request: ApplySchedules) -> ApplyReply:
    """Have a project's schedules be just these, or say what that would do. Raises as `put`."""
    _check(store, request.schedules)
    wanted = {one.name: one for one in request.schedules}
    known = {
        name: one for name, one in _known(store).items() if name in wanted or one.schedule.project == request.project
    }
    plan = declaring.plan(known, request)
    is_done = not request.dry_run and all(change.action != "refused" for change in plan)
    if is_done:
        _carry_out(store, plan, wanted)
    return ApplyReply(plan, is_done)


def _check(store: Store, declared: Iterable[NewSchedule]) -> None:
    for one in declared:
        declaring.check_name(one.name)
        try:
            declaring.check_schedule(one, room=store.room)
        except AikiError as error:
            raise type(error)(f"schedule {one.name!r}: {error.message}", hint=error.hint) from error


def _known(store: Store) -> dict[str, Known]:
    return {name: Known(one.declared, one.vanished) for name, one in store.schedules.items()}


def _carry_out(store: Store, plan: Sequence[ScheduleChange], wanted: Mapping[str, NewSchedule]) -> None:
    """Make schedules what is wanted of them. Raises UsageError, before anything is done, for one that never fires."""
    for change in plan:
        if change.action in ("create", "update"):
            scheduling.check_begin(wanted[change.name].spec, store.now())
    for change in plan:
        match change.action:
            case "create":
                _create(store, wanted[change.name])
            case "update":
                _update(store, store.schedules[change.name], wanted[change.name])
            case "pause":
                schedule = store.schedules[change.name]
                _pause(store, schedule, note=schedule.note, vanished=True)
            case "delete":
                del store.schedules[change.name]


def _create(store: Store, new: NewSchedule) -> None:
    now = store.now()
    schedule = store.schedules[new.name] = Schedule(new, now, now, now)
    schedule.place(scheduling.restart(Look(id=new.id, spec=new.spec, now=now, decided=now)))
    store.routes.setdefault((new.workflow, new.version), None)


def _update(store: Store, schedule: Schedule, new: NewSchedule) -> None:
    """Change a schedule. One that was paused since it had vanished goes on."""
    here, paused = stand(store, schedule), schedule.stays_paused
    decision = scheduling.restart(here.look, new.spec, paused=paused)
    carry_out(store, here, decision)
    schedule.place(decision)
    schedule.declared, schedule.paused = replace(new, id=schedule.declared.id), paused
    schedule.note = schedule.note if paused else None
    schedule.vanished = False
    store.routes.setdefault((new.workflow, new.version), None)
    _touch(store, schedule)


# -- orders


def order(store: Store, request: OrderSchedules) -> ScheduleOrderReply:
    """Hold schedules, let them go on, or delete them."""
    known = {name: store.schedules[name] for name in dict.fromkeys(request.names) if name in store.schedules}
    for name, schedule in known.items():
        match request.order:
            case "pause":
                _pause(store, schedule, note=request.note)
            case "resume":
                _resume(store, schedule)
            case "delete":
                del store.schedules[name]
    return ScheduleOrderReply([ScheduleOrdered("done" if name in known else "unknown") for name in request.names])


def _pause(store: Store, schedule: Schedule, *, note: str | None, vanished: bool = False) -> None:
    schedule.paused, schedule.note, schedule.look_at = True, note, None
    schedule.vanished = schedule.vanished or vanished
    _touch(store, schedule)


def _resume(store: Store, schedule: Schedule) -> None:
    if not schedule.paused:
        return
    here = stand(store, schedule)
    decision = scheduling.restart(here.look)
    carry_out(store, here, decision)
    schedule.place(decision)
    schedule.paused, schedule.vanished, schedule.note = False, False, None
    _touch(store, schedule)


def _touch(store: Store, schedule: Schedule) -> None:
    schedule.updated_at = store.now()
    schedule.revision += 1


# -- questions


def list_schedules(store: Store, request: ListSchedules) -> SchedulesReply:
    """Return the schedules behind a name, in the order of names."""
    limit = max(1, min(request.limit, LIST_ITEMS))
    names = (name for name in sorted(store.schedules) if name > request.after)
    known = (store.schedules[name] for name in names)
    asked = (one for one in known if request.project in (None, one.declared.project))
    found = list(islice(asked, limit + 1))
    return SchedulesReply([_info(store, one) for one in found[:limit]], more=len(found) > limit)


def show(store: Store, request: ShowSchedule) -> ScheduleReply:
    """Return a schedule and what became of its latest slots."""
    schedule = store.schedules.get(request.name)
    if schedule is None:
        return ScheduleReply()
    rows = sorted(schedule.slots.values(), key=lambda row: (row.at, row.slot), reverse=True)
    return ScheduleReply(_info(store, schedule), [told(store, row) for row in rows[: request.slots]])


def next_slots(store: Store, request: NextSlots) -> NextReply:
    """Return when a schedule fires next."""
    schedule = store.schedules.get(request.name)
    if schedule is None:
        return NextReply(known=False)
    return NextReply(scheduling.next_slots(stand(store, schedule).look, request.count))


def _info(store: Store, schedule: Schedule) -> ScheduleInfo:
    """Return a schedule as it stands."""
    here, one = stand(store, schedule), schedule.declared
    return ScheduleInfo(
        schedule=one,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
        revision=schedule.revision,
        paused=schedule.paused,
        note=schedule.note or "",
        vanished=schedule.vanished,
        next=_next(here),
        last_completed=schedule.last_completed,
        open=here.open,
        queued=len(here.queued),
        served=store.is_served((one.workflow, one.version)),
    )


def _next(here: Stand) -> int | None:
    if here.schedule.paused:
        return None
    return next((slot for slot, _ in scheduling.next_slots(here.look, 1)), None)
