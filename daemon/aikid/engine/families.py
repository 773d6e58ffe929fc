"""Carry out what units do to families of runs, in one transaction with all else of them: start children, cancel them.

Both are there or neither is: what a unit starts is undone with it, and the others of its batch are done again without
it. This is the only work of a record that is not one statement. What has an outcome that its run has to hear of (a
start with a key, a cancel) brings that before the unit itself is written, so that no park sleeps over it; the cancel is
done after it, so that it does not overtake what the same unit sends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiki.wire.messages import Recorded, Unit
from aikid.engine import meetings, stops
from aikid.engine.births import Births, Undone
from aikid.engine.changes import Changes
from aikid.engine.leaves import Leaves
from aikid.engine.routes import RouteKey
from aikid.engine.stops import Stop
from aikid.store import answers, families, prepared
from aikid.store.families import Parent
from aikid.store.inbox import Reached
from aikid.store.pool import Connection
from aikid.store.record import Wrote

Write: TypeAlias = Callable[[Connection, Sequence[int]], Awaitable[Wrote]]
"""Writes the units at these places, but for what they do to families."""


def has_family(unit: Unit) -> bool:
    """Tell whether a unit does anything to the family of its run."""
    return bool(unit.starts or unit.stops)


def routes_of(namespaces: Sequence[str], units: Sequence[Unit]) -> set[RouteKey]:
    """Return the routes of all that units start."""
    return {
        (namespace, op.workflow, op.version)
        for namespace, unit in zip(namespaces, units, strict=True)
        for op in unit.starts
    }


@dataclass(slots=True)
class Written:
    """What became of units: those that were done, as `Wrote` has them by place, and those that are `refused`."""

    wrote: Wrote
    refused: Mapping[int, Recorded]
    changes: Changes


@dataclass(slots=True)
class Families:
    """What a batch of units does to families. `write` does all else of them."""

    namespaces: Sequence[str]
    units: Sequence[Unit]
    leaves: Leaves
    room: int
    write: Write
    refused: dict[int, Recorded] = field(default_factory=dict)

    async def carry_out(self, connection: Connection) -> Written:
        """Write all units that hold, each whole, in one transaction."""
        able = list(range(len(self.units)))
        while True:
            try:
                return await self._attempt(connection, able)
            except Undone as undone:
                self.refused |= {place: said for place, said in undone.places.items() if said is not None}
                able = [place for place in able if place not in undone.places]

    async def _attempt(self, connection: Connection, able: Sequence[int]) -> Written:
        births = Births(self.leaves, self.room)
        try:
            async with prepared.transaction(connection):
                wrote, changes = await self._carry_out(connection, able, births)
            births.hold()
        finally:
            births.close()
        changes.add(births.changes())
        return Written(wrote, self.refused, changes)

    async def _carry_out(self, connection: Connection, able: Sequence[int], births: Births) -> tuple[Wrote, Changes]:
        units = [self.units[place] for place in able]
        parents = await families.lock(connection, [self.namespaces[place] for place in able], units)
        held = {able[n]: parent for n, parent in sorted(parents.items())}
        known = await self._answered(connection, held)
        for place, parent in held.items():
            if self.units[place].starts:
                births.add(self.namespaces[place], place, self.units[place], parent, but=known)
        await births.insert(connection)
        told, left = await meetings.settle(connection, births)
        reached = Reached()
        found, stopping = await self._look(connection, held, known)
        if told or found:
            reached = await answers.bring(connection, [*told, *found])
        wrote = await self._rest(connection, list(held), reached, left)
        return wrote, await stops.cancel(connection, stopping)

    async def _answered(self, connection: Connection, held: Mapping[int, Parent]) -> set[str]:
        """Return the ids of those ops whose outcomes their runs have heard of."""
        ops = [
            (parent.origin_id, op_id) for place, parent in held.items() for op_id in _with_outcomes(self.units[place])
        ]
        return await answers.answered(connection, ops) if ops else set()

    async def _look(
        self, connection: Connection, held: Mapping[int, Parent], known: set[str]
    ) -> tuple[list[answers.Answer], list[tuple[Stop, str]]]:
        of_units = {place: self.units[place] for place in held}
        stopping = stops.stops_of(of_units, self.namespaces, but=known)
        return await stops.look(connection, stopping) if stopping else ([], [])

    async def _rest(self, connection: Connection, places: Sequence[int], reached: Reached, left: int) -> Wrote:
        wrote = await self.write(connection, places)
        if unheld := [place for n, place in enumerate(places) if n not in wrote.done]:
            raise Undone(dict.fromkeys(unheld))
        done = {places[n]: ended for n, ended in wrote.done.items()}
        recorded = {places[n]: said for n, said in wrote.recorded.items()}
        wrote.reached.held += reached.held
        return Wrote(wrote.now, done, recorded, wrote.reached, wrote.errands + left)


def _with_outcomes(unit: Unit) -> list[str]:
    """Return the ids of what a unit does to families that has an outcome."""
    keyed = [op.id for op in unit.starts if op.options.key is not None]
    return [*keyed, *(op.id for op in unit.stops)]
