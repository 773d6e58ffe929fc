"""Carry out what units do to families of runs: children that they start, in one transaction with all else of them.

Both are there or neither is: what a unit starts is undone with it, and the others of its batch are done again without
it. This is the only work of a record that is not one statement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiki.rules.families import FOREIGN, TOO_DEEP, child, is_too_deep
from aiki.wire.messages import Recorded, Unit
from aikid.engine.changes import Changes
from aikid.engine.handing import handed
from aikid.engine.leaves import Leaves, Offer, rows_of
from aikid.engine.routes import RouteKey
from aikid.store import enqueue, families
from aikid.store.births import Birth
from aikid.store.enqueue import Inserted, Row
from aikid.store.families import Parent
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
    """What became of units: those that were `done`, as `Wrote` has them by place, and those that are `refused`."""

    wrote: Wrote
    refused: Mapping[int, Recorded]
    changes: Changes


class _Undone(Exception):
    """Some units do not hold; of those that are refused it is said why."""

    def __init__(self, places: Mapping[int, Recorded | None]) -> None:
        super().__init__()
        self.places = places


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
            except _Undone as undone:
                self.refused |= {place: said for place, said in undone.places.items() if said is not None}
                able = [place for place in able if place not in undone.places]

    async def _attempt(self, connection: Connection, able: Sequence[int]) -> Written:
        births = _Births(self.leaves, self.room)
        try:
            async with connection.transaction():
                units = [self.units[place] for place in able]
                parents = await families.lock(connection, [self.namespaces[place] for place in able], units)
                held = {able[n]: parent for n, parent in sorted(parents.items())}
                for place, parent in held.items():
                    if self.units[place].starts:
                        births.add(self.namespaces[place], place, self.units[place], parent)
                await births.insert(connection)
                wrote = await self._rest(connection, list(held))
            births.hold()
        finally:
            births.close()
        return Written(wrote, self.refused, births.changes())

    async def _rest(self, connection: Connection, places: Sequence[int]) -> Wrote:
        wrote = await self.write(connection, places)
        if unheld := [place for n, place in enumerate(places) if n not in wrote.done]:
            raise _Undone(dict.fromkeys(unheld))
        done = {places[n]: ended for n, ended in wrote.done.items()}
        recorded = {places[n]: said for n, said in wrote.recorded.items()}
        return Wrote(wrote.now, done, recorded, wrote.reached, wrote.errands)


@dataclass(slots=True)
class _Births:
    """The children that one transaction starts, and who has leave for them."""

    leaves: Leaves
    room: int
    rows: list[Row] = field(default_factory=list)
    births: list[Birth] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Of the units."""
    offers: list[Offer] = field(default_factory=list)
    inserted: Inserted | None = None
    running: dict[str, int] = field(default_factory=dict)
    told: Changes = field(default_factory=Changes)

    def add(self, namespace: str, place: int, unit: Unit, parent: Parent) -> None:
        """Take in what a unit starts. Raises _Undone if its run can start nothing."""
        if is_too_deep(parent.depth):
            raise _Undone({place: TOO_DEEP})
        run_id = unit.fence.run_id
        for op in unit.starts:
            self.rows.append((namespace, child(op, priority=parent.priority)))
            self.births.append(Birth(run_id, parent.generation, parent.depth + 1, op.parent_close))
            self.places.append(place)

    async def insert(self, connection: Connection) -> None:
        """Insert the runs that are new. Raises _Undone for units that start what is another's."""
        if not self.rows:
            return
        self.offers = self.leaves.offer(self.rows, room=self.room)
        leaves = rows_of(self.offers, self.rows)
        self.inserted = await enqueue.insert(connection, self.rows, leaves, self.births)
        if self.inserted.made is None:
            return
        starts = [(birth.parent_id, run.id) for birth, (_, run) in zip(self.births, self.rows, strict=True)]
        known = await families.known(connection, starts)
        foreign = {
            place: Recorded("refused", FOREIGN.format(start[1]))
            for place, start in zip(self.places, starts, strict=True)
            if start not in known
        }
        if foreign:
            raise _Undone(foreign)

    def hold(self) -> None:
        """Take note that the transaction has been committed."""
        if self.inserted is not None:
            self.running = dict.fromkeys(self.inserted.running, self.inserted.now)

    def close(self) -> None:
        """Take note of what has become of the offers."""
        given = self.leaves.close(self.offers, self.rows, self.running)
        if self.inserted is None:
            return
        for offer in self.offers:
            if offer.line.session not in self.inserted.live:
                self.leaves.forget(offer.line)
        now = self.inserted.now
        self.told.handed = [handed(one, self.rows, now, self.running, self.births) for one in given]

    def changes(self) -> Changes:
        """Return what is to be told of the new runs."""
        if self.inserted is not None:
            self.told.due_in(self.inserted.due_seconds)
            others = self.inserted.later | self.inserted.running
            made = self.inserted.made
            for namespace, run in self.rows:
                if run.id not in others and (made is None or run.id in made):
                    self.told.queued[namespace, run.workflow, run.version] += 1
        return self.told
