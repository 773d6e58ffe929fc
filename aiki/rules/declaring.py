"""Own what may be declared of a schedule, and what a declaration changes of those that are there. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiki.core.errors import UsageError
from aiki.rules.calendar import check_spec, shown, upcoming
from aiki.rules.checking import check_run, is_text, is_uuid
from aiki.rules.scheduling import Decision, check_begin
from aiki.wire.limits import KEY_CHARS
from aiki.wire.messages import (
    ApplySchedules,
    BackfillSchedule,
    ListSchedules,
    NewRun,
    NewSchedule,
    NextSlots,
    OrderSchedules,
    Request,
    RunOptions,
    ScheduleChange,
    ShowSchedule,
    Spec,
    TriggerSchedule,
)
from aiki.wire.subjects import is_token

_NAME_CHARS: Final = 256
"""Of whoever orders something."""
_TIMES: Final = range(1 << 62)
_IN_MANIFESTS: Final = {"window": "catch_up_window"}
"""Members of a spec that a manifest has another name for."""
GOES_ON: Final = "it had vanished from the manifest, and goes on"
GONE: Final = "the manifest names it no longer"


@dataclass(frozen=True, slots=True)
class Known:
    """A schedule that is there."""

    schedule: NewSchedule
    vanished: bool = False


def check_schedule(schedule: NewSchedule, *, room: int) -> None:
    """Raise UsageError or PayloadError if the schedule could never fire, or its runs never be claimed."""
    check_name(schedule.name)
    if not is_uuid(schedule.id):
        raise UsageError(f"the id {schedule.id[:64]!r} of schedule {schedule.name!r} is not a UUID in canonical form")
    if schedule.project is not None:
        check_name(schedule.project, what="project")
    options = schedule.options
    for name in ("key", "start_at", "delay", "send"):
        if getattr(options, name) is not None:
            raise UsageError(f"a schedule's runs have no `{name}`: each is of its slot, and starts with it")
    if options.on_conflict != "error":
        raise UsageError("a schedule's runs have no `on_conflict`: each slot is one run")
    if schedule.spec.cron is not None and not is_text(schedule.spec.cron, chars=KEY_CHARS):
        raise UsageError(f"a cron is 1 to {KEY_CHARS} characters without NUL")
    check_spec(schedule.spec)
    check_run(NewRun(schedule.id, schedule.workflow, schedule.version, schedule.input, options), room=room)


def check_name(name: str, *, what: str = "schedule") -> None:
    """Raise UsageError if `name` cannot be that of a schedule, or of the project that owns it."""
    if not is_token(name):
        raise UsageError(f"{what} name {name[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")


def check_request(request: Request[Any]) -> None:
    """Raise UsageError if a request about schedules cannot be carried out; what it declares is looked at later."""
    match request:
        case OrderSchedules():
            _check_order(request)
        case ListSchedules():
            if "\0" in request.after or "\0" in (request.project or ""):
                raise UsageError("a name holds NUL")
        case ApplySchedules():
            _check_apply(request)
        case ShowSchedule() | NextSlots():
            check_name(request.name)
        case TriggerSchedule() | BackfillSchedule():
            _check_firing(request)
        case _:
            pass
    actor = getattr(request, "actor", None)
    if actor is not None and not is_text(actor, chars=_NAME_CHARS):
        raise UsageError(f"`actor` must be 1 to {_NAME_CHARS} characters without NUL")


def _check_order(request: OrderSchedules) -> None:
    for name in request.names:
        check_name(name)
    if "\0" in request.note:
        raise UsageError("`note` holds NUL")


def _check_firing(request: TriggerSchedule | BackfillSchedule) -> None:
    check_name(request.name)
    if isinstance(request, TriggerSchedule):
        if not is_uuid(request.id):
            raise UsageError(f"the id {request.id[:64]!r} of a trigger is not a UUID in its canonical form")
    elif request.start not in _TIMES or request.end not in _TIMES:
        raise UsageError("`start` or `end` is out of range")


def _check_apply(request: ApplySchedules) -> None:
    check_name(request.project, what="project")
    for name, count in Counter(schedule.name for schedule in request.schedules).items():
        if count > 1:
            raise UsageError(f"schedule {name[:80]!r} is declared twice")
    if any(schedule.project != request.project for schedule in request.schedules):
        raise UsageError(f"all schedules of an apply belong to its project, {request.project!r}")


def begin(schedule: NewSchedule, *, now: int) -> Decision:
    """Return what it means to make a schedule now. Raises UsageError if it would never fire.

    It is what `restart` says of one that is decided up to now, by one walk through its calendar.
    """
    following = upcoming(schedule.spec, schedule.id, now, 1)
    if not following:
        check_begin(schedule.spec, now)
    return Decision(decided=now, zones=shown(schedule.spec, now), look_at=following[0][1])


# -- what a declaration changes


def differences(old: NewSchedule, new: NewSchedule) -> list[str]:
    """Return what another declaration changes of a schedule, in the words of a manifest."""
    found = [name for name in ("workflow", "version") if getattr(old, name) != getattr(new, name)]
    if bytes(old.input) != bytes(new.input):
        found.append("payload")
    if old.project != new.project:
        found.append("project")
    spec = [_IN_MANIFESTS.get(name, name) for name in Spec.__struct_fields__ if _differs(old.spec, new.spec, name)]
    return found + spec + [name for name in RunOptions.__struct_fields__ if _differs(old.options, new.options, name)]


def _differs(old: Any, new: Any, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def put(old: Known | None, new: NewSchedule, *, update: bool) -> ScheduleChange:
    """Return what a single declaration does: a schedule that is there is changed only by an `update`, of its owner's.

    It is `refused` too if there is none to be updated.
    """
    if old is None:
        reason = f"there is no schedule {new.name!r}"
        return ScheduleChange(new.name, "refused", reason=reason) if update else ScheduleChange(new.name, "create")
    change = _changed(old, new)
    if update or change.action != "update":
        return change
    if old.schedule.id == new.id:  # it was made by this very request, and somebody has changed it since
        return ScheduleChange(new.name, "unchanged")
    return ScheduleChange(new.name, "refused", change.fields, f"schedule {new.name!r} is there already, and differs")


def plan(known: Mapping[str, Known], request: ApplySchedules) -> list[ScheduleChange]:
    """Return what an apply does to each schedule that it or its project names, in the order of names."""
    wanted = {one.name: one for one in request.schedules}
    changes = []
    for name in sorted(known.keys() | wanted.keys()):
        old, new = known.get(name), wanted.get(name)
        if new is not None:
            changes.append(ScheduleChange(name, "create") if old is None else _changed(old, new))
        elif old is not None:
            changes.append(_vanished(old, prune=request.prune))
    return changes


def _changed(old: Known, new: NewSchedule) -> ScheduleChange:
    owner, name = old.schedule.project, new.name
    if owner != new.project:
        whose = "no project: a program or a person has made it" if owner is None else f"project {owner!r}"
        return ScheduleChange(name, "refused", reason=f"schedule {name!r} belongs to {whose}")
    fields = differences(old.schedule, new)
    if old.vanished:
        return ScheduleChange(name, "update", fields, GOES_ON)
    return ScheduleChange(name, "update" if fields else "unchanged", fields)


def _vanished(old: Known, *, prune: bool) -> ScheduleChange:
    name = old.schedule.name
    if prune:
        return ScheduleChange(name, "delete", reason=GONE)
    return ScheduleChange(name, "unchanged" if old.vanished else "pause", reason=GONE)
