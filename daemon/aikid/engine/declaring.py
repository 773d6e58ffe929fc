"""Change schedules in the transaction that their rows are locked in: made, changed, held, let go on, deleted.

Whatever lets one go on counts its slots from now, and those meanwhile are missed: nothing fires because of a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiki.core.moments import SECOND
from aiki.rules import declaring, scheduling
from aiki.rules.scheduling import Decision
from aiki.wire.messages import NewSchedule, ScheduleChange, Spec
from aikid.engine import standing
from aikid.engine.changes import Changes
from aikid.engine.firing import Firing, place_of
from aikid.engine.turns import in_turns
from aikid.store import schedules
from aikid.store.pool import Connection
from aikid.store.schedules import Held, Place, Row


@dataclass(slots=True)
class Changing:
    """What is changed of a namespace's schedules at `now`; `rows` are those that are locked, by name."""

    connection: Connection
    namespace: str
    now: int
    rows: Mapping[str, Row]
    changes: Changes = field(default_factory=Changes)

    async def carry_out(self, plan: Sequence[ScheduleChange], wanted: Mapping[str, NewSchedule]) -> None:
        """Make schedules what is wanted of them. Raises Conflict if another has the id of one, UsageError."""
        named: dict[str, list[str]] = {}
        for change in plan:
            named.setdefault(change.action, []).append(change.name)
        await self._create([wanted[name] for name in named.get("create", ())])
        await self._update([wanted[name] for name in named.get("update", ())])
        await self._mark(named.get("pause", ()))
        await self.delete(named.get("delete", ()))

    async def pause(self, names: Sequence[str], *, note: str) -> None:
        """Hold schedules; those that are held are so for this reason then."""
        rows = [self.rows[name] for name in names]
        await schedules.move(self.connection, [_held(row, note, vanished=row.vanished) for row in rows])

    async def resume(self, names: Sequence[str]) -> None:
        """Let schedules go on that are held."""
        rows = [row for row in map(self.rows.__getitem__, names) if row.paused]
        places = await self._restart(rows, lambda row: row.schedule.spec, are_kept=False)
        held = [Held(row.schedule.id, False, None, place) for row, place in zip(rows, places, strict=True)]
        await schedules.move(self.connection, held)

    async def delete(self, names: Sequence[str]) -> None:
        """Delete schedules; their runs stay."""
        if names:
            await schedules.delete(self.connection, [self.rows[name].schedule.id for name in names])

    async def _mark(self, names: Sequence[str]) -> None:
        """Hold schedules that their manifest names no longer; what a person has said of it stays."""
        rows = [self.rows[name] for name in names]
        await schedules.move(self.connection, [_held(row, row.note, vanished=True) for row in rows])

    async def _create(self, new: Sequence[NewSchedule]) -> None:
        if not new:
            return
        places = [self._placed(declaring.begin(one, now=self.now)) async for one in in_turns(new)]
        await schedules.insert(self.connection, self.namespace, new, places)

    async def _update(self, new: Sequence[NewSchedule]) -> None:
        async for one in in_turns(new):
            scheduling.check_begin(one.spec, self.now)
        specs = {one.name: one.spec for one in new}
        rows = [self.rows[one.name] for one in new]
        places = await self._restart(rows, lambda row: specs[row.schedule.name], are_kept=True)
        await schedules.update(self.connection, rows, new, places)

    async def _restart(self, rows: Sequence[Row], spec: Callable[[Row], Spec], *, are_kept: bool) -> list[Place]:
        """Have the slots of schedules be counted from now; return where they stand then, paused or not."""
        if not rows:
            return []
        firing = Firing(room=0)
        decisions = []
        async for stand in in_turns(await standing.read(self.connection, rows)):
            paused = are_kept and stand.row.stays_paused
            decision = scheduling.restart(stand.look, spec(stand.row), paused=paused)
            firing.add(stand, decision)
            decisions.append(decision)
        await firing.write(self.connection)
        return [self._placed(decision) for decision in decisions]

    def _placed(self, decision: Decision) -> Place:
        if decision.look_at is not None:
            self.changes.fires_in((decision.look_at - self.now) / SECOND)
        return place_of(decision)


def _held(row: Row, note: str | None, *, vanished: bool) -> Held:
    return Held(row.schedule.id, True, note, Place(row.decided, row.zones, None), vanished)
