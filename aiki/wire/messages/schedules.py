"""Own the messages of schedules: how one fires, what became of its slots, and what a person does with it.

A *slot* is the time that a schedule names; with jitter its run is enqueued somewhat later, and stays of that slot.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Raw, Struct

from aiki.core.moments import SECOND
from aiki.core.states import State
from aiki.wire.limits import LIST_ITEMS, NOTE_CHARS, SCHEDULES, SLOTS
from aiki.wire.messages.base import Request, Text
from aiki.wire.messages.options import NO_OPTIONS, RunOptions

Overlap: TypeAlias = Literal["skip", "queue", "cancel_previous", "allow"]
"""What becomes of a slot whose time comes while a run of the schedule has not ended."""
CatchUp: TypeAlias = Literal["none", "latest", "all"]
"""Which of the slots that nobody fired in time are fired afterwards."""
SlotResult: TypeAlias = Literal["started", "queued", "skipped", "missed", "failed"]
Note: TypeAlias = Annotated[str, Meta(max_length=NOTE_CHARS)]
Names: TypeAlias = Annotated[list[Text], Meta(min_length=1, max_length=LIST_ITEMS)]

DAY: Final = 24 * 60 * 60 * SECOND


class Spec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a schedule fires: by `cron`, `every` so long, or once `at` a time. All times and lengths in microseconds."""

    cron: Text | None = None
    """Five fields, or a word such as @daily; read in `timezone`."""
    every: int | None = None
    at: int | None = None
    timezone: Text = "UTC"
    anchor: int = 0
    """A slot of `every`; the others are whole intervals from it."""
    start: int | None = None
    """No slot lies before."""
    end: int | None = None
    """No slot lies at or behind it."""
    jitter: int = 0
    """By less than this each slot is fired later: by how much follows from its id and time."""
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    window: int = DAY
    """How old a slot may be that is caught up with."""


class NewSchedule(Struct, omit_defaults=True):
    """A schedule as it is declared. `id` is a UUID made by whoever creates it; an update keeps that of the first."""

    id: Text
    name: Text
    workflow: Text
    version: Text
    input: Raw
    spec: Spec
    options: RunOptions = NO_OPTIONS
    """Without key, start and delay: a slot is all of these."""
    project: Text | None = None
    """The manifest that owns it; None if a program or a person does."""


class Slot(Struct, omit_defaults=True):
    """What became of a slot, at `at`. Slots in a row that were missed for one `reason` are one, up to `until`."""

    slot: int
    result: SlotResult
    at: int
    kind: Literal["slot", "trigger", "backfill"] = "slot"
    reason: str = ""
    run_id: str | None = None
    state: State | None = None
    """Of its run, or of the newest of its retries."""
    until: int | None = None
    count: int = 1


class ScheduleInfo(Struct, omit_defaults=True):
    """A schedule as it stands. `revision` rises with each change of it."""

    schedule: NewSchedule
    created_at: int
    updated_at: int
    revision: int
    paused: bool = False
    note: str = ""
    """Why it is paused."""
    vanished: bool = False
    """Its manifest names it no longer: so it was paused."""
    next: int | None = None
    """The next slot; None if it is paused, or has no other."""
    last_completed: int | None = None
    """The greatest slot whose run completed."""
    open: int = 0
    """Its runs that have not ended."""
    queued: int = 0
    """Slots that wait for such a run."""
    served: bool = True
    """Whether a worker serves its route."""


class PutReply(Struct, omit_defaults=True):
    """What became of the schedule, and how it stands. `exists`: another of its name does, `reason` says which."""

    result: Literal["created", "updated", "unchanged", "exists", "unknown"]
    info: ScheduleInfo | None = None
    reason: str = ""


class PutSchedule(Request[PutReply]):
    """Create a schedule, or change the one of its name. A repeat with the same declaration is `unchanged`.

    A change never fires what lies behind it: slots are counted from now.
    """

    op = "schedule_put"
    reply = PutReply
    schedule: NewSchedule
    update: bool = False
    actor: Text | None = None


class ScheduleChange(Struct, omit_defaults=True):
    """What an apply does to one schedule. `fields` are what an update changes, by their names in a manifest."""

    name: str
    action: Literal["create", "update", "unchanged", "pause", "delete", "refused"]
    fields: list[str] = []
    reason: str = ""


class ApplyReply(Struct):
    """The plan, in the order of names. If a change is `refused`, nothing was done."""

    changes: list[ScheduleChange]
    is_done: bool


class ApplySchedules(Request[ApplyReply]):
    """Have a project's schedules be just these: all of it in one commit, or with `dry_run` only say what it would do.

    Those that it names no longer are paused and marked, or deleted if `prune`.
    """

    op = "schedule_apply"
    reply = ApplyReply
    project: Text
    schedules: Annotated[list[NewSchedule], Meta(max_length=SCHEDULES)]
    prune: bool = False
    dry_run: bool = False
    actor: Text | None = None


class SchedulesReply(Struct):
    """A page of schedules in the order of their names."""

    schedules: list[ScheduleInfo]
    more: bool = False


class ListSchedules(Request[SchedulesReply]):
    """List schedules behind a name."""

    op = "schedule_list"
    reply = SchedulesReply
    after: Text = ""
    limit: int = LIST_ITEMS
    project: Text | None = None


class ScheduleReply(Struct, omit_defaults=True):
    """A schedule, if there is one of that name, and its latest slots, newest first."""

    info: ScheduleInfo | None = None
    slots: list[Slot] = []


class ShowSchedule(Request[ScheduleReply]):
    """Show a schedule with what became of its latest slots."""

    op = "schedule_show"
    reply = ScheduleReply
    name: Text
    slots: Annotated[int, Meta(ge=0, le=SLOTS)] = 20


class ScheduleOrdered(Struct, omit_defaults=True):
    """What has become of an order to one schedule: `done`, also if it had been before."""

    result: Literal["done", "unknown"]


class ScheduleOrderReply(Struct):
    """One ScheduleOrdered per name, in order."""

    outcomes: list[ScheduleOrdered]


class OrderSchedules(Request[ScheduleOrderReply]):
    """Pause schedules, let them go on from now, or delete them: their runs stay."""

    op = "schedule_order"
    reply = ScheduleOrderReply
    names: Names
    order: Literal["pause", "resume", "delete"]
    note: Note = ""
    actor: Text | None = None


class FiredReply(Struct, omit_defaults=True):
    """What became of each slot that was to be fired out of turn; empty if there is no such schedule."""

    slots: list[Slot] = []
    known: bool = True


class TriggerSchedule(Request[FiredReply]):
    """Fire a schedule now, whatever its overlap says and also if it is paused. Idempotent by `id`, a UUID."""

    op = "schedule_trigger"
    reply = FiredReply
    name: Text
    id: Text
    actor: Text | None = None


class BackfillSchedule(Request[FiredReply]):
    """Fire the slots from `start` up to `end`, at most SLOTS, which its own time does not fire any more.

    Each is fired once, however often this is asked; slots that have a run are left out. With `dry_run` it only says
    which these are.
    """

    op = "schedule_backfill"
    reply = FiredReply
    name: Text
    start: int
    end: int
    overlap: Overlap = "allow"
    dry_run: bool = False
    actor: Text | None = None


class NextReply(Struct, omit_defaults=True):
    """Slots, and for each when it is fired."""

    slots: list[tuple[int, int]] = []
    known: bool = True


class NextSlots(Request[NextReply]):
    """Return the next slots of a schedule, whether it is paused or not."""

    op = "schedule_next"
    reply = NextReply
    name: Text
    count: Annotated[int, Meta(ge=1, le=SLOTS)] = 5
