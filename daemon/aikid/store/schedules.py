"""Own the rows of schedules: what is declared, who owns it, and up to where it is decided.

Whoever changes a schedule, or fires it, holds its row: so of two at once the later reads what the first has done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Raw
from psycopg.errors import SerializationFailure

from aiki.core.errors import Conflict
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NewSchedule, RunOptions, Spec
from aikid.store import prepared
from aikid.store.arrays import Array, Blobs, Bools, Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS


@dataclass(frozen=True, slots=True)
class Row:
    """A schedule, as it was read at `now` by the database's clock."""

    namespace: str
    schedule: NewSchedule
    paused: bool
    vanished: bool
    note: str | None
    """What somebody has said who has paused it, empty for nothing; None if nobody has."""
    decided: int
    """All its slots up to this one are decided."""
    zones: str
    last_completed: int | None
    look_at: int | None
    created_at: int
    updated_at: int
    revision: int
    now: int

    @property
    def stays_paused(self) -> bool:
        """Whether it is paused by somebody, and not only since its manifest named it no longer."""
        return self.paused and self.note is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a schedule is decided, by which zone data, and when it is to be looked at next."""

    decided: int
    zones: str
    look_at: int | None


_TIMES: Final = ", ".join(MICROSECONDS.format(f"s.{name}") for name in ("due_at", "created_at", "updated_at"))
COLUMNS: Final = f"""
s.namespace, s.id::text, s.name, s.workflow, s.version, s.input, s.spec, s.options, s.project, s.paused, s.vanished,
s.note, s.decided_us, s.zones, s.last_completed_us, {_TIMES}, s.revision, {MICROSECONDS.format("aiki.now()")}
"""


def id_of(row: Sequence[Any]) -> str:
    """Return the id of a row of COLUMNS."""
    return str(row[1])


def to_row(row: Sequence[Any]) -> Row:
    """Return a row of COLUMNS. Raises ValueError if a newer daemon has declared what this one does not know."""
    namespace, schedule_id, name, workflow, version, input, spec, options, project, *rest = row
    schedule = NewSchedule(
        schedule_id,
        name,
        workflow,
        version,
        Raw(input),
        decoder(Spec).decode(spec),
        decoder(RunOptions).decode(options),
        project,
    )
    return Row(namespace, schedule, *rest)


# The unique index of names, from the left; in the order of ids, as whoever locks several does. A firing passes over
# rows that are held, and holds its own for no longer than its commit takes.
_LOCK_NAMED: Final = f"""
SELECT {COLUMNS} FROM aiki.schedules s WHERE s.namespace = (%b)[1] AND s.name = ANY(%b)
ORDER BY s.id FOR NO KEY UPDATE
"""
# That, and `schedules_owned`; then primary keys.
_LOCK_OWNED: Final = f"""
WITH found AS MATERIALIZED (
  SELECT s.id FROM aiki.schedules s WHERE s.namespace = (%b)[1] AND s.name = ANY(%b)
  UNION SELECT s.id FROM aiki.schedules s WHERE s.namespace = (%b)[1] AND s.project = (%b)[1]
)
SELECT {COLUMNS} FROM aiki.schedules s WHERE s.id IN (SELECT f.id FROM found f) ORDER BY s.id FOR NO KEY UPDATE
"""
_NOW: Final = f"SELECT {MICROSECONDS.format('aiki.now()')}"


async def now(connection: Connection) -> int:
    """Return the database's clock."""
    row = await (await connection.execute(_NOW, prepare=True, binary=True)).fetchone()
    assert row is not None
    return int(row[0])


async def lock(connection: Connection, namespace: str, names: Sequence[str]) -> dict[str, Row]:
    """Lock those of the schedules that exist, and return them by name."""
    return _by_name(await prepared.rows(connection, _LOCK_NAMED, [Texts([namespace]), Texts(names)]))


async def lock_owned(connection: Connection, namespace: str, names: Sequence[str], project: str) -> dict[str, Row]:
    """Lock the schedules of these names, and all that a project owns."""
    parameters = [Texts([namespace]), Texts(names), Texts([namespace]), Texts([project])]
    return _by_name(await prepared.rows(connection, _LOCK_OWNED, parameters))


def _by_name(rows: Iterable[Sequence[Any]]) -> dict[str, Row]:
    return {row.schedule.name: row for row in map(to_row, rows)}


# The unique index of names, from the left, or `schedules_owned`. Inputs are read as far as there is room for them,
# which their lengths say, and one more, so that it is known whether there are others.
_PAGE: Final = f"""
SELECT {COLUMNS} FROM (
  SELECT x.*, sum(octet_length(x.input)) OVER (ORDER BY x.name) - octet_length(x.input) AS before FROM (
    SELECT * FROM aiki.schedules x
    WHERE x.namespace = (%b)[1] AND x.name > (%b)[1] {{owned}}
    ORDER BY x.name LIMIT (%b)[1]
  ) AS x
) AS s WHERE s.before <= (%b)[1] ORDER BY s.name
"""
_ALL: Final = _PAGE.format(owned="")
_OWNED: Final = _PAGE.format(owned="AND x.project = (%b)[1]")
_NAMED: Final = f"SELECT {COLUMNS} FROM aiki.schedules s WHERE s.namespace = (%b)[1] AND s.name = ANY(%b)"


async def page(
    connection: Connection, namespace: str, *, after: str, project: str | None, limit: int, limit_bytes: int
) -> list[Row]:
    """Return schedules behind a name, in the order of names; of a project alone, if one is given.

    As many as have `limit_bytes` of inputs together, and one more if there is one.
    """
    owner: list[Array] = [] if project is None else [Texts([project])]
    parameters = [Texts([namespace]), Texts([after]), *owner, Ints([limit]), Ints([limit_bytes])]
    return [to_row(row) for row in await prepared.rows(connection, _OWNED if owner else _ALL, parameters)]


async def named(connection: Connection, namespace: str, name: str) -> Row | None:
    """Return a schedule, None if there is none of that name."""
    rows = await prepared.rows(connection, _NAMED, [Texts([namespace]), Texts([name])])
    return to_row(rows[0]) if rows else None


_DUE: Final = "'epoch'::timestamptz + {} * interval '1 microsecond'"
# Both unique indexes may refuse a row, and neither blocks longer than another insert of the same takes to commit.
_INSERT: Final = f"""
INSERT INTO aiki.schedules
  (namespace, id, name, project, workflow, version, input, spec, options, zones, decided_us, due_at)
SELECT t.namespace, t.id, t.name, t.project, t.workflow, t.version, t.input, t.spec, t.options, t.zones, t.decided,
  {_DUE.format("t.look_at")}
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
  AS t(namespace, id, name, project, workflow, version, input, spec, options, zones, decided, look_at)
ORDER BY t.namespace, t.name ON CONFLICT DO NOTHING RETURNING id::text
"""
_KNOWN: Final = "SELECT s.id::text FROM aiki.schedules s WHERE s.id = ANY(%b)"
# Primary keys of rows that are locked.
_UPDATE: Final = f"""
UPDATE aiki.schedules s SET project = t.project, workflow = t.workflow, version = t.version, input = t.input,
  spec = t.spec, options = t.options, zones = t.zones, decided_us = t.decided,
  due_at = {_DUE.format("t.look_at")}, paused = t.paused,
  note = CASE WHEN t.paused THEN s.note END, vanished = false, updated_at = aiki.now(), revision = s.revision + 1
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
  AS t(namespace, id, name, project, workflow, version, input, spec, options, zones, decided, look_at, paused)
WHERE s.id = t.id
"""


async def insert(connection: Connection, namespace: str, new: Sequence[NewSchedule], places: Sequence[Place]) -> None:
    """Store schedules that were not there. Raises Conflict if another has the id of one.

    Raises SerializationFailure if another of its name is there since: all is done again then, and finds it.
    """
    made = await prepared.rows(connection, _INSERT, _declared(namespace, new, places))
    if len(made) == len(new):
        return
    left = {one.id for one in new} - {schedule_id for (schedule_id,) in made}
    if foreign := await prepared.rows(connection, _KNOWN, [Uuids(sorted(left))]):
        raise Conflict(f"the id {foreign[0][0]} is that of another schedule", hint="make a UUID for each")
    raise SerializationFailure("a schedule of this name is there since")


async def update(
    connection: Connection, was: Sequence[Row], new: Sequence[NewSchedule], places: Sequence[Place]
) -> None:
    """Change schedules that are locked into others. One that was paused since it had vanished goes on."""
    if not was:
        return
    parameters = [*_declared(was[0].namespace, new, places), Bools([row.stays_paused for row in was])]
    parameters[1] = Uuids([row.schedule.id for row in was])
    await prepared.rows(connection, _UPDATE, parameters)


def _declared(namespace: str, new: Sequence[NewSchedule], places: Sequence[Place]) -> list[Array]:
    return [
        Texts([namespace] * len(new)),
        Uuids([one.id for one in new]),
        Texts([one.name for one in new]),
        Texts([one.project for one in new]),
        Texts([one.workflow for one in new]),
        Texts([one.version for one in new]),
        Blobs([bytes(one.input) for one in new]),
        Blobs([encode(one.spec) for one in new]),
        Blobs([encode(one.options) for one in new]),
        Texts([place.zones for place in places]),
        Ints([place.decided for place in places]),
        Ints([place.look_at for place in places]),
    ]


# Primary keys of rows that are locked.
_MOVE: Final = f"""
UPDATE aiki.schedules s SET paused = t.paused, vanished = t.vanished, note = t.note, decided_us = t.decided,
  zones = t.zones, due_at = {_DUE.format("t.look_at")}, updated_at = aiki.now(), revision = s.revision + 1
FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS t(id, paused, vanished, note, decided, zones, look_at) WHERE s.id = t.id
"""
_DELETE: Final = "DELETE FROM aiki.schedules s WHERE s.id = ANY(%b)"
_DECIDED: Final = f"""
UPDATE aiki.schedules s SET decided_us = t.decided, due_at = {_DUE.format("t.look_at")}, zones = t.zones,
  last_completed_us = greatest(s.last_completed_us, t.last_completed)
FROM unnest(%b, %b, %b, %b, %b) AS t(id, decided, look_at, last_completed, zones) WHERE s.id = t.id
"""


@dataclass(frozen=True, slots=True)
class Held:
    """Whether a schedule is paused, and why; and where it goes on."""

    id: str
    paused: bool
    note: str | None
    place: Place
    vanished: bool = False


async def move(connection: Connection, moved: Sequence[Held]) -> None:
    """Pause schedules that are locked, or let them go on."""
    parameters: list[Array] = [
        Uuids([one.id for one in moved]),
        Bools([one.paused for one in moved]),
        Bools([one.vanished for one in moved]),
        Texts([one.note for one in moved]),
        Ints([one.place.decided for one in moved]),
        Texts([one.place.zones for one in moved]),
        Ints([one.place.look_at for one in moved]),
    ]
    await prepared.rows(connection, _MOVE, parameters)


async def delete(connection: Connection, ids: Sequence[str]) -> None:
    """Delete schedules that are locked, and leave what became of their slots to the pruner."""
    await prepared.rows(connection, _DELETE, [Uuids(ids)])


async def decided(connection: Connection, places: Sequence[tuple[str, Place]], completed: Sequence[int | None]) -> None:
    """Take note of what is decided of schedules that are locked, and of the greatest slots that have completed."""
    parameters: list[Array] = [
        Uuids([schedule_id for schedule_id, _ in places]),
        Ints([place.decided for _, place in places]),
        Ints([place.look_at for _, place in places]),
        Ints(completed),
        Texts([place.zones for _, place in places]),
    ]
    await prepared.rows(connection, _DECIDED, parameters)
