"""Own a schedule as the engine keeps it, and what became of its slots."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiki.rules.scheduling import Decided, Decision, Kind
from aiki.wire.messages import NewSchedule
from aiki.wire.messages.schedules import SlotResult


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
    revision: int = 1
    paused: bool = False
    vanished: bool = False
    note: str = ""
    last_completed: int | None = None
    slots: dict[tuple[Kind, int], SlotRow] = field(default_factory=dict)

    def place(self, decision: Decision) -> None:
        """Take note of up to where it is decided, and when to look at it again."""
        self.decided, self.zones, self.look_at = decision.decided, decision.zones, decision.look_at

    def unfinished(self) -> list[SlotRow]:
        """Return the slots that wait, or of whose runs something may go on, in order."""
        rows = [row for row in self.slots.values() if row.is_open or row.result == "queued"]
        return sorted(rows, key=lambda row: (row.slot, row.kind))

    def last(self, kind: Kind) -> int:
        """Return the last slot of a kind, 0 if there is none."""
        return max((row.slot for row in self.slots.values() if row.kind == kind), default=0)

    def put(self, decided: Decided, at: int) -> SlotRow | None:
        """Store what becomes of a slot; return nothing if something has become of it before, which stands."""
        key = (decided.kind, decided.slot)
        if (known := self.slots.get(key)) is not None and not decided.waited and not _gives_way(known):
            return None
        row = SlotRow(*key, at, decided.result, decided.reason, until=decided.until, count=decided.count)
        self.slots[key] = row
        return row


def _gives_way(row: SlotRow) -> bool:
    """Tell whether a later backfill may fire the slot."""
    return row.kind == "backfill" and row.result in ("skipped", "failed")
