"""Own what a client asks of schedules that are there: to be read, fired out of turn, paused, resumed or deleted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

from aiki.client.control import person
from aiki.client.run_ids import RunIds
from aiki.client.schedule_info import ScheduleInfo, SlotInfo, from_wire, slot_from_wire
from aiki.client.when import Firing, checked_count, checked_overlap
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, NotFound, PayloadError, UsageError
from aiki.core.moments import to_datetime, to_wire
from aiki.core.near import nearest
from aiki.wire.limits import LIST_ITEMS, NOTE_CHARS, SLOTS
from aiki.wire.messages import (
    BackfillSchedule,
    FiredReply,
    ListSchedules,
    NextSlots,
    OrderSchedules,
    ScheduleOrdered,
    ShowSchedule,
    TriggerSchedule,
)
from aiki.wire.messages import ScheduleInfo as WireInfo
from aiki.wire.messages.schedules import Overlap
from aiki.wire.subjects import is_token

SHOWN_SLOTS: Final = 20


async def read(wire: Wire, name: str) -> WireInfo:
    """Return a schedule as the daemon has it. Raises NotFound."""
    reply = await wire.call(ShowSchedule(checked_name(name), 0))
    if reply.info is None:
        raise await unknown(wire, name)
    return reply.info


async def show(wire: Wire, name: str, slots: int = SHOWN_SLOTS) -> ScheduleInfo:
    """Return a schedule with its latest slots. Raises NotFound, or UsageError for more slots than are told."""
    if type(slots) is not int or not 0 <= slots <= SLOTS:
        raise UsageError(f"slots={slots!r}: it must be a whole number from 0 to {SLOTS:,}")
    reply = await wire.call(ShowSchedule(checked_name(name), slots))
    if reply.info is None:
        raise await unknown(wire, name)
    return from_wire(reply.info, reply.slots)


async def listed(wire: Wire, project: str | None) -> list[WireInfo]:
    """Return all schedules, or those of a project, by their names, in as many requests as it takes."""
    found: list[WireInfo] = []
    after = ""
    while True:
        reply = await wire.call(ListSchedules(after=after, project=project))
        found += reply.schedules
        if not (reply.more and reply.schedules):
            return found
        after = reply.schedules[-1].schedule.name


async def firings(wire: Wire, name: str, count: int) -> list[Firing]:
    """Return the next slots of a schedule. Raises NotFound."""
    reply = await wire.call(NextSlots(checked_name(name), checked_count(count)))
    if not reply.known:
        raise await unknown(wire, name)
    return [Firing(to_datetime(slot), to_datetime(at)) for slot, at in reply.slots]


async def trigger(wire: Wire, name: str, actor: str | None = None) -> str:
    """Fire a schedule now, and return the run's id. Raises NotFound, or PayloadError if its enqueue is refused."""
    run_id = RunIds().next()  # a repeat finds the run by it
    reply = await wire.call(TriggerSchedule(checked_name(name), run_id, actor or person()))
    (fired,) = await _fired(wire, name, reply)
    if fired.run_id is None:
        what = f"schedule {name!r} could not be fired: {fired.reason or fired.result}"
        raise PayloadError(what, hint=_look(name), command=f"aiki schedule show {name}")
    return fired.run_id


async def backfill(
    wire: Wire,
    name: str,
    start: datetime,
    end: datetime,
    *,
    overlap: Overlap = "allow",
    dry_run: bool = False,
    actor: str | None = None,
) -> list[SlotInfo]:
    """Fire the slots from `start` up to `end` that have no run, and return what became of each. Raises NotFound."""
    since, until = to_wire(start, what="start"), to_wire(end, what="end")
    if since >= until:
        raise UsageError(f"no slot lies from {start} up to {end}", hint="the earlier time comes first")
    request = BackfillSchedule(checked_name(name), since, until, checked_overlap(overlap), dry_run, actor or person())
    return await _fired(wire, name, await wire.call(request))


async def order(
    wire: Wire,
    names: Iterable[str],
    wanted: Literal["pause", "resume", "delete"],
    *,
    note: str | None = None,
    actor: str | None = None,
) -> list[AikiError | None]:
    """Give the order to schedules; return of each in order why it does not obey, or None if it does."""
    every, said = list(map(checked_name, names)), _checked_note(note)
    ordered: list[ScheduleOrdered] = []
    for start in range(0, len(every), LIST_ITEMS):
        request = OrderSchedules(every[start : start + LIST_ITEMS], wanted, said, actor or person())
        ordered += (await wire.call(request)).outcomes
    missing = [name for name, one in zip(every, ordered, strict=True) if one.result == "unknown"]
    known = await _known(wire) if missing else []
    return [_not_found(wire, name, known) if name in missing else None for name in every]


async def unknown(wire: Wire, name: str) -> NotFound:
    """Return the error for a name that no schedule has, with one that it may have been meant for."""
    return _not_found(wire, name, await _known(wire))


def checked_name(name: Any) -> str:
    """Return the name of a schedule. Raises UsageError if it is none."""
    if not isinstance(name, str) or not is_token(name):
        shown = repr(name)[:80]
        raise UsageError(f"{shown} is no schedule's name: names have 1 to 64 of A-Z a-z 0-9 _ -", hint='"nightly"')
    return name


async def _known(wire: Wire) -> list[str]:
    """Return names of schedules: those that fit one reply, for a guess at one."""
    return [info.schedule.name for info in (await wire.call(ListSchedules())).schedules]


def _not_found(wire: Wire, name: str, known: Iterable[str]) -> NotFound:
    what = f"schedule {name!r} does not exist in namespace {wire.namespace!r}"
    if meant := nearest(name, known):
        return NotFound(f"{what}: did you mean {meant!r}?", hint=_look(meant), command=f"aiki schedule show {meant}")
    return NotFound(what, hint="await client.schedules.list()", command="aiki schedule list")


def _checked_note(note: Any) -> str:
    if note is None:
        return ""
    if not isinstance(note, str) or len(note) > NOTE_CHARS or "\0" in note:
        shown = repr(note)[:40]
        raise UsageError(f"note={shown}…: it must be text of at most {NOTE_CHARS:,} characters, without NUL")
    return note


async def _fired(wire: Wire, name: str, reply: FiredReply) -> list[SlotInfo]:
    if not reply.known:
        raise await unknown(wire, name)
    return [slot_from_wire(slot) for slot in reply.slots]


def _look(name: str) -> str:
    return f'await client.schedules.get("{name}").info()'
