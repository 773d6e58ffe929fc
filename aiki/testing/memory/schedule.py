"""Own a schedule as the engine keeps it, and what became of its slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from aiki.rules.scheduling import Decided, Decision, Kind
from aiki.wire.messages import NewSchedule
from aiki.wire.messages.schedules import SlotResult

Key: TypeAlias = tuple[Kind, int]


@dataclass(eq=False, slots=True)
class SlotRow:
    """What became of a slot, and whether anything of its run may go on."""

    kind: Kind
    slot: int
    at: int
    result: SlotResult
    reason: str = ""
    run_id: str | None = None
    until: int | None = None
    count: int = 1
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """What must come before another look at a schedule with a slot that waits can find anything."""

    ends: int
    """How many runs had ended before its last look: one more must."""
    fires_at: int | None
    """Or the time of its next slot."""


@dataclass(eq=False, slots=True)
class Schedule:
    """A schedule. Times in microseconds since 1970."""

    declared: NewSchedule
    created_at: int
    updated_at: int
    decided: int
    """All its slots up to this one are decided."""
    zones: str = ""
    look_at: int | None = None
    idle: Idle | None = None
    """Since its last look, if that left a slot waiting."""
    revision: int = 1
    paused: bool = False
    vanished: bool = False
    note: str | None = None
    """What somebody has said who has paused it, empty for nothing; None if nobody has."""
    last_completed: int | None = None
    slots: dict[Key, SlotRow] = field(default_factory=dict)
    _going: dict[Key, SlotRow] = field(default_factory=dict)
    """All that wait, or of whose runs something may go on; others among them are left out at the next look."""

    @property
    def stays_paused(self) -> bool:
        """Whether it is paused by somebody, and not only since its manifest named it no longer."""
        return self.paused and self.note is not None

    def place(self, decision: Decision) -> None:
        """Take note of up to where it is decided, and when to look at it again."""
        self.decided, self.zones, self.look_at = decision.decided, decision.zones, decision.look_at
        self.idle = None

    def unfinished(self) -> list[SlotRow]:
        """Return the slots that wait, or of whose runs something may go on, in order."""
        self._going = {key: row for key, row in self._going.items() if row.is_open or row.result == "queued"}
        return sorted(self._going.values(), key=lambda row: (row.slot, row.kind))

    def reopen(self, kind: Kind, slot: int, run_id: str) -> None:
        """Take note that the run of a slot goes on again, if it is the slot's."""
        row = self.slots.get((kind, slot))
        if row is not None and row.run_id == run_id:
            row.is_open = True
            self._going[kind, slot] = row

    def last(self, kind: Kind) -> int:
        """Return the last slot of a kind, 0 if there is none."""
        return max((row.slot for row in self.slots.values() if row.kind == kind), default=0)

    def put(self, decided: Decided, at: int) -> SlotRow | None:
        """Store what becomes of a slot; return nothing if something has become of it before, which stands."""
        key = (decided.kind, decided.slot)
        if (known := self.slots.get(key)) is not None and not decided.waited and not _gives_way(known):
            return None
        row = SlotRow(*key, at, decided.result, decided.reason, until=decided.until, count=decided.count)
        self.slots[key] = self._going[key] = row
        return row


def _gives_way(row: SlotRow) -> bool:
    """Tell whether a later backfill may fire the slot."""
    return row.kind == "backfill" and row.result in ("skipped", "failed")
