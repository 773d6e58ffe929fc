"""Own what a reader sees of a schedule: what it enqueues and when, how it stands, and what became of its slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from aiki.client.named import NamedCall
from aiki.client.when import When, from_spec
from aiki.core.moments import to_datetime
from aiki.core.states import State
from aiki.definitions import stored
from aiki.wire import messages
from aiki.wire.messages.schedules import SlotResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotInfo:
    """What became of a slot. Slots in a row that were missed for one reason are one, up to `until`."""

    slot: datetime
    result: SlotResult
    """`started`, `queued` (it waits for a run to end), `skipped`, `missed`, or `failed` (its enqueue was refused)."""
    at: datetime
    """When that was decided."""
    kind: Literal["slot", "trigger", "backfill"] = "slot"
    reason: str = ""
    run_id: str | None = None
    state: State | None = None
    """Of its run, or of the newest of its retries."""
    until: datetime | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule at the time it was read."""

    name: str
    id: str
    call: NamedCall
    """What it enqueues: the workflow, its version, payload and options."""
    when: When
    project: str | None
    """The manifest's project that it belongs to; None if a program or a person has made it."""
    created_at: datetime
    updated_at: datetime
    revision: int
    """Rises with each change."""
    paused: bool
    note: str
    """Why it is paused."""
    vanished: bool
    """Whether it is paused since its manifest names it no longer."""
    next: datetime | None
    """The next slot; None if it is paused, or has no other."""
    last_completed: datetime | None
    """The greatest slot whose run has completed."""
    open: int
    """Its runs that have not ended."""
    queued: int
    """Slots that wait for such a run."""
    served: bool
    """Whether a worker serves its workflow."""
    slots: tuple[SlotInfo, ...] = ()
    """The latest, newest first, of one that was asked for by name."""


def from_wire(info: messages.ScheduleInfo, slots: Iterable[messages.Slot] = ()) -> ScheduleInfo:
    """Return the public form of a schedule on the wire."""
    made = info.schedule
    return ScheduleInfo(
        name=made.name,
        id=made.id,
        call=NamedCall(made.workflow, stored.read(made.input), made.version, made.options),
        when=from_spec(made.spec),
        project=made.project,
        created_at=to_datetime(info.created_at),
        updated_at=to_datetime(info.updated_at),
        revision=info.revision,
        paused=info.paused,
        note=info.note,
        vanished=info.vanished,
        next=_moment(info.next),
        last_completed=_moment(info.last_completed),
        open=info.open,
        queued=info.queued,
        served=info.served,
        slots=tuple(map(slot_from_wire, slots)),
    )


def slot_from_wire(slot: messages.Slot) -> SlotInfo:
    """Return the public form of a slot on the wire."""
    return SlotInfo(
        slot=to_datetime(slot.slot),
        result=slot.result,
        at=to_datetime(slot.at),
        kind=slot.kind,
        reason=slot.reason,
        run_id=slot.run_id,
        state=slot.state,
        until=_moment(slot.until),
        count=slot.count,
    )


def _moment(value: int | None) -> datetime | None:
    return None if value is None else to_datetime(value)
