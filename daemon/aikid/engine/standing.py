"""Read how schedules stand: which of their slots wait, and what has become of the runs of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aiki.core.states import State
from aiki.rules.scheduling import STARTED, Look, Waiting
from aikid.store import slots
from aikid.store.pool import Connection
from aikid.store.schedules import Row
from aikid.store.slots import JUDGED, Fate, Key, Unfinished

BYTES: Final = 8 * 1024 * 1024
"""Inputs of one batch: of the schedules that it is of, and of the runs that each of them starts."""


@dataclass(slots=True)
class Stand:
    """A schedule with what its slots have come to."""

    row: Row
    open: int = 0
    """Slots of which something goes on."""
    queued: list[Waiting] = field(default_factory=list)
    closed: list[Key] = field(default_factory=list)
    """Slots of which nothing goes on any more."""
    untold: list[str] = field(default_factory=list)
    """Runs that go on, and nobody has cancelled."""
    last_completed: int | None = None

    @property
    def look(self) -> Look:
        """What there is to decide."""
        row = self.row
        return Look(
            id=row.schedule.id,
            spec=row.schedule.spec,
            now=row.now,
            decided=row.decided,
            zones=row.zones,
            paused=row.paused,
            open=self.open,
            queued=self.queued,
            most=max(1, min(STARTED, BYTES // max(1, len(row.schedule.input)))),
        )


async def read(connection: Connection, rows: Sequence[Row]) -> list[Stand]:
    """Lock the slots of schedules that are locked, and return how they stand."""
    return await _read(connection, rows, lock=True)


async def look(connection: Connection, rows: Sequence[Row]) -> list[Stand]:
    """Return how schedules stand, for who looks and changes nothing."""
    return await _read(connection, rows, lock=False)


async def _read(connection: Connection, rows: Sequence[Row], *, lock: bool) -> list[Stand]:
    unfinished = await slots.unfinished(connection, [row.schedule.id for row in rows], lock=lock)
    runs = [one.run_id for some in unfinished.values() for one in some if one.run_id is not None]
    fates = await slots.fates(connection, runs)
    return [stand(row, unfinished.get(row.schedule.id, ()), fates) for row in rows]


def stand(row: Row, unfinished: Sequence[Unfinished], fates: dict[str, Fate]) -> Stand:
    """Return how a schedule stands with these slots. Beside as many as are looked at, some other may go on."""
    made = Stand(row, open=int(len(unfinished) == JUDGED), last_completed=row.last_completed)
    for one in unfinished:
        if one.run_id is None:
            made.queued.append(Waiting(one.key.kind, one.key.slot))
            continue
        fate = fates[one.run_id]
        if fate.state is State.COMPLETED:
            made.last_completed = max(one.key.slot, made.last_completed or one.key.slot)
        if fate.open:
            made.open += 1
            made.untold += fate.untold
        else:
            made.closed.append(one.key)
    return made
