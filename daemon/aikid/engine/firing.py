"""Fire schedules: what is decided of their slots is written in one commit with the runs that this enqueues.

Their rows are locked by whoever decides, and a slot's row is the permit to enqueue its run: so each slot is one run,
whichever daemon fires it, and however often it is begun again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.core.failpoints import failpoint
from aiki.core.moments import SECOND
from aiki.rules import scheduling
from aiki.rules.calendar import zones
from aiki.rules.checking import check_run
from aiki.rules.scheduling import Decided, Decision
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import CancelNote, Fired, NewRun
from aikid.engine import standing
from aikid.engine.changes import Changes
from aikid.engine.control import note_cancelled
from aikid.engine.standing import BYTES, Stand
from aikid.engine.turns import in_turns
from aikid.store import cancels, due, enqueue, prepared, schedules, slots
from aikid.store.pool import BadData, Connection, Pool
from aikid.store.schedules import Place
from aikid.store.slots import Key, Row

log = logging.getLogger("aikid.schedules")

_BATCH: Final = 250
_DECIDING_SECONDS: Final = 1.0
"""For how long a commit takes in more: after an outage of months a look walks over all that was missed."""
_ALREADY_TAKEN_SECONDS: Final = 0.02
"""Due schedules that another daemon is firing: look again after this."""
_LATER: Final = 60 * SECOND
"""Whatever a schedule cannot be decided for, another zone data or another daemon: look again after this."""


# -- what is due


async def fire_due(pool: Pool, *, room: int) -> AsyncIterator[Changes]:
    """Fire all schedules that are due by the database's clock; yield what each commit changed. Raises Unavailable."""
    more = await _is_due(pool)  # mostly none is, and no more is asked then
    while more:
        batch = _Batch(room)
        for changes in await batch.fire(pool):
            yield changes
        more = batch.is_full


async def seconds_to_next(pool: Pool) -> float | None:
    """Return in how many seconds to look for the next schedule; None if there is none. Raises Unavailable."""
    seconds = await pool.run(due.seconds_to_next)
    return seconds if seconds is None or seconds > 0 else _ALREADY_TAKEN_SECONDS


async def _is_due(pool: Pool) -> bool:
    seconds = await pool.run(due.seconds_to_next)
    return seconds is not None and seconds <= 0


async def renew_zones(pool: Pool) -> None:
    """Have all schedules be decided anew that were decided by other zone data. Raises Unavailable."""
    count = _BATCH
    while count == _BATCH:
        count = await pool.run(lambda c: due.renew(c, zones(), limit=_BATCH))


async def look_at_waiting(pool: Pool) -> None:
    """Have slots that wait for a run be looked at though the clock was set back since. Raises Unavailable."""
    await pool.run(lambda c: due.hurry(c, within=2 * scheduling.AGAIN))


@dataclass(slots=True)
class _Batch:
    """Due schedules that are fired in one commit, or in several if Postgres refuses a value of one of them."""

    room: int
    locked: list[str] = field(default_factory=list)
    is_full: bool = False

    async def fire(self, pool: Pool, ids: Sequence[str] | None = None, *, refused: str = "") -> list[Changes]:
        try:
            return [await pool.run(lambda c: self._fire(c, ids, refused))]
        except (BadData, ValueError) as error:
            locked = list(self.locked)
            if refused:  # it is no run's: with none enqueued it fails, too
                return await self._put_off(pool, locked, error)
            if len(locked) < 2:
                return await self.fire(pool, locked, refused=str(error))
            half = len(locked) // 2
            return [*await self.fire(pool, locked[:half]), *await self.fire(pool, locked[half:])]

    async def _put_off(self, pool: Pool, ids: Sequence[str], error: Exception) -> list[Changes]:
        """Leave to another daemon, or for later, what cannot even be said to have failed: others fire meanwhile."""
        log.error("schedules %s cannot be fired here: %s", ", ".join(ids), error)
        await pool.run(lambda c: due.put_off(c, ids, by=_LATER))
        return []

    async def _fire(self, connection: Connection, ids: Sequence[str] | None, refused: str) -> Changes:
        async with prepared.transaction(connection):
            found = await due.lock(connection, limit=_BATCH, limit_bytes=BYTES, ids=ids)
            self.locked = list(map(schedules.id_of, found))
            rows = list(map(schedules.to_row, found))
            if not rows:
                return Changes()
            firing = Firing(self.room, refused=refused)
            until = time.monotonic() + _DECIDING_SECONDS
            is_cut = False
            async for stand in in_turns(await standing.read(connection, rows)):
                if not is_cut:
                    firing.add(stand, _decide(stand))
                    # Those that are left stay due. One is always decided: else none would be, over and over.
                    is_cut = firing.is_full or time.monotonic() > until
            self.is_full = is_cut or len(rows) == _BATCH
            await firing.write(connection)
            await firing.place(connection)
            failpoint("scheduler.before_commit")
        return firing.changes


def _decide(stand: Stand) -> Decision:
    """Return what is decided of a schedule: nothing if this daemon has older zone data, which lacks its zone."""
    row = stand.row
    try:
        return scheduling.decide(stand.look)
    except AikiError as error:
        log.warning("schedule %s cannot be decided here: %s", row.schedule.name, error)
        return Decision(decided=row.decided, zones=row.zones, look_at=row.now + _LATER)


# -- carrying out


@dataclass(slots=True)
class _Start:
    """A run that is to be enqueued for a slot."""

    slot: Row
    waited: bool
    namespace: str
    run: NewRun


@dataclass(slots=True)
class Firing:
    """What decisions write in the transaction that their schedules are locked in."""

    room: int
    refused: str = ""
    """Why no run can be enqueued, if none can."""
    changes: Changes = field(default_factory=Changes)
    _places: list[tuple[Stand, Decision]] = field(default_factory=list)
    _new: list[Row] = field(default_factory=list)
    _changed: list[Row] = field(default_factory=list)
    _starts: list[_Start] = field(default_factory=list)
    _bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether so many runs are enqueued that others are for another commit."""
        return len(self._starts) >= BATCH_RUNS or self._bytes > BYTES

    def add(self, stand: Stand, decision: Decision, *, run_id: str | None = None) -> None:
        """Take in what is decided of a schedule. A slot's run has its own id, unless one is given."""
        self._places.append((stand, decision))
        for decided in decision.rows:
            row = _row(stand, decided)
            if decided.result == "started":
                row = self._start(stand, row, decided, run_id)
            (self._changed if decided.waited else self._new).append(row)

    async def write(self, connection: Connection) -> None:
        """Cancel the runs before, store what becomes of slots, and enqueue their runs."""
        await self._cancel(connection)
        permitted = await slots.insert(connection, self._new)
        await slots.change(connection, self._changed)
        if starts := [one for one in self._starts if one.waited or one.slot.key in permitted]:
            await self._enqueue(connection, starts)

    async def place(self, connection: Connection) -> None:
        """Take note of up to where the schedules are decided, and of what has come to its end."""
        await slots.close(connection, [key for stand, _ in self._places for key in stand.closed])
        places = [(stand.row.schedule.id, place_of(decision)) for stand, decision in self._places]
        await schedules.decided(connection, places, [stand.last_completed for stand, _ in self._places])

    def _start(self, stand: Stand, row: Row, decided: Decided, run_id: str | None) -> Row:
        """Return the slot's row with its run, or with why there is none."""
        schedule = stand.row.schedule
        key = row.key
        run_id = run_id or scheduling.fired_run_id(key.schedule_id, decided.kind, key.slot)
        run = NewRun(run_id, schedule.workflow, schedule.version, schedule.input, schedule.options)
        try:
            if self.refused:
                raise AikiError(self.refused)
            check_run(run, room=self.room)
        except AikiError as error:
            return Row(key, "failed", error.message)
        fired = Fired(schedule=schedule.name, slot=key.slot, last_completed=stand.last_completed, kind=decided.kind)
        run = replace(run, options=replace(schedule.options, fired=fired))
        row = Row(key, "started", run_id=run_id)
        self._starts.append(_Start(row, decided.waited, stand.row.namespace, run))
        self._bytes += len(run.input)
        return row

    async def _cancel(self, connection: Connection) -> None:
        for stand, decision in self._places:
            if decision.cancels and stand.untold:
                namespace, name = stand.row.namespace, stand.row.schedule.name
                told = CancelNote(actor=scheduling.ACTOR.format(name))
                found = await cancels.cancel(connection, namespace, stand.untold, told, force=False)
                note_cancelled(self.changes, namespace, found)

    async def _enqueue(self, connection: Connection, starts: Sequence[_Start]) -> None:
        inserted = await enqueue.insert(connection, [(one.namespace, one.run) for one in starts])
        made = inserted.made
        if made is not None:
            foreign = [one for one in starts if one.run.id not in made]
            await slots.change(
                connection, [Row(one.slot.key, "failed", f"run id {one.run.id} is in use") for one in foreign]
            )
            starts = [one for one in starts if one.run.id in made]
        self.changes.made([(one.namespace, one.run) for one in starts], made, inserted.now)
        for one in starts:
            self.changes.queued[one.namespace, one.run.workflow, one.run.version] += 1
            self.changes.woken[one.namespace, one.run.workflow, one.run.version] += 1
        self.changes.due_in(inserted.due_seconds)


def place_of(decision: Decision) -> Place:
    """Return where a decision leaves its schedule."""
    return Place(decision.decided, decision.zones, decision.look_at)


def _row(stand: Stand, decided: Decided) -> Row:
    key = Key(stand.row.schedule.id, decided.kind, decided.slot)
    return Row(key, decided.result, decided.reason, until=decided.until, count=decided.count)
