"""Own the children that one transaction starts: the rows that are inserted, and who has leave for them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from aiki.rules.families import FOREIGN, TOO_DEEP, child, is_too_deep
from aiki.wire.messages import Recorded, Unit
from aikid.engine import conflicts
from aikid.engine.changes import Changes
from aikid.engine.handing import handed
from aikid.engine.leaves import Leaves, Offer, rows_of
from aikid.store import enqueue, families
from aikid.store.births import Birth
from aikid.store.enqueue import Inserted, Row
from aikid.store.families import Child, Parent
from aikid.store.pool import Connection


class Undone(Exception):
    """Some units of a transaction do not hold; of those that are refused it is said why."""

    def __init__(self, places: Mapping[int, Recorded | None]) -> None:
        super().__init__()
        self.places = places


@dataclass(slots=True)
class Births:
    """Starts, as rows for runs and for children; `close` must follow, whatever becomes of the transaction."""

    leaves: Leaves
    room: int
    rows: list[Row] = field(default_factory=list)
    births: list[Birth] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Of the units."""
    known: dict[tuple[str, str], Child] = field(default_factory=dict)
    """What was there before, by the ids of parent and start, or is there now; what is not here is new."""
    unmet: list[int] = field(default_factory=list)
    """Rows that were not inserted, and never were: their keys are held by others."""
    _offers: list[Offer] = field(default_factory=list)
    _inserted: Inserted | None = None
    _running: dict[str, int] = field(default_factory=dict)
    _changes: Changes = field(default_factory=Changes)
    retried: Changes = field(default_factory=Changes)
    """What has come of runs that had the keys of some, and were retried."""

    def add(self, namespace: str, place: int, unit: Unit, parent: Parent, *, but: Container[str]) -> None:
        """Take in what a unit starts, but for those whose outcome is known. Raises Undone if its run can start none."""
        if is_too_deep(parent.depth):
            raise Undone({place: TOO_DEEP})
        run_id = unit.fence.run_id
        for op in unit.starts:
            if op.id not in but:
                self.rows.append((namespace, child(op, priority=parent.priority)))
                birth = Birth(run_id, parent.generation, parent.depth + 1, op.parent_close, parent.children)
                self.births.append(birth)
                self.places.append(place)

    async def insert(self, connection: Connection) -> None:
        """Insert the runs that are new. Raises Undone for units that start what is another's."""
        if not self.rows:
            return
        await conflicts.free(connection, self.rows)
        self._offers = self.leaves.offer(self.rows, room=self.room)
        leaves = rows_of(self._offers, self.rows)
        self._inserted = await enqueue.insert(connection, self.rows, leaves, self.births)
        if self._inserted.made is None:
            return
        starts = [(birth.parent_id, run.id) for birth, (_, run) in zip(self.births, self.rows, strict=True)]
        self.known = await families.known(connection, starts)
        others = [n for n, start in enumerate(starts) if start not in self.known]
        self.refuse([n for n in others if self.rows[n][1].options.key is None])
        self.unmet = others

    def refuse(self, rows: list[int]) -> None:
        """Raise Undone if there are such rows, whose ids are taken."""
        if rows:
            raise Undone({self.places[n]: Recorded("refused", FOREIGN.format(self.rows[n][1].id)) for n in rows})

    def hold(self) -> None:
        """Take note that the transaction has been committed."""
        if self._inserted is not None:
            self._running = dict.fromkeys(self._inserted.running, self._inserted.now)

    def close(self) -> None:
        """Take note of what has become of the offers."""
        given = self.leaves.close(self._offers, self.rows, self._running)
        if self._inserted is None:
            return
        for offer in self._offers:
            if offer.line.session not in self._inserted.live:
                self.leaves.forget(offer.line)
        now = self._inserted.now
        self._changes.handed = [handed(one, self.rows, now, self._running, self.births) for one in given]

    def changes(self) -> Changes:
        """Return what is to be told of the new runs."""
        if self._inserted is not None:
            self._changes.due_in(self._inserted.due_seconds)
            self._changes.made(self.rows, self._inserted.made, self._inserted.now)
            others = self._inserted.later | self._inserted.running
            made = self._inserted.made
            for namespace, run in self.rows:
                if run.id not in others and (made is None or run.id in made):
                    self._changes.queued[namespace, run.workflow, run.version] += 1
        self._changes.add(self.retried)
        return self._changes
