"""Own the rows of slots: what became of each that was decided, and what has become of its run since.

A row is a run's permit: it is inserted in the transaction that enqueues, and who finds it there enqueues nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiki.core.states import TERMINAL, State
from aiki.rules.scheduling import Kind
from aiki.wire.codec import decoder
from aiki.wire.limits import QUEUED_SLOTS
from aiki.wire.messages import Fired, Slot
from aikid.store import prepared
from aikid.store.arrays import Array, Bools, Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

_OLDEST: Final = 10
_NEWEST: Final = QUEUED_SLOTS + 10
"""So many slots of a schedule that are not over are looked at from either end: of most schedules all."""
JUDGED: Final = _OLDEST + _NEWEST
_FAMILY: Final = 1_000
"""So many runs of a slot are looked at for one that has not ended."""


class Key(NamedTuple):
    """What a slot is known by."""

    schedule_id: str
    kind: Kind
    slot: int


@dataclass(frozen=True, slots=True)
class Row:
    """A slot as it is stored: its run's id if it has one."""

    key: Key
    result: str
    reason: str = ""
    run_id: str | None = None
    until: int | None = None
    count: int = 1

    @property
    def is_open(self) -> bool:
        """Whether a run goes on that it has just been given."""
        return self.result == "started"


# Primary key, in its order. A backfill's slot that came to nothing gives way to another's. Whoever fires the same slot
# at once is waited for as long as its commit takes.
_INSERT: Final = """
INSERT INTO aiki.slots AS s (schedule_id, kind, slot_us, result, reason, run_id, is_open, until_us, count)
SELECT t.schedule_id, t.kind, t.slot_us, t.result, t.reason, t.run_id::uuid, t.is_open, t.until_us, t.count
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b)
  AS t(schedule_id, kind, slot_us, result, reason, run_id, is_open, until_us, count)
ORDER BY t.schedule_id, t.kind, t.slot_us
ON CONFLICT (schedule_id, kind, slot_us) DO UPDATE
  SET result = excluded.result, reason = excluded.reason, run_id = excluded.run_id, is_open = excluded.is_open,
    at = excluded.at
  WHERE s.kind = 'backfill' AND s.result IN ('skipped', 'failed')
RETURNING schedule_id::text, kind, slot_us
"""
# Primary keys of rows that are locked, or of schedules that are.
_CHANGE: Final = """
UPDATE aiki.slots s SET result = t.result, reason = t.reason, run_id = t.run_id::uuid, is_open = t.is_open,
  at = aiki.now()
FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS t(schedule_id, kind, slot_us, result, reason, run_id, is_open)
WHERE s.schedule_id = t.schedule_id AND s.kind = t.kind AND s.slot_us = t.slot_us
"""
_CLOSE: Final = """
UPDATE aiki.slots s SET is_open = false FROM unnest(%b, %b, %b) AS t(schedule_id, kind, slot_us)
WHERE s.schedule_id = t.schedule_id AND s.kind = t.kind AND s.slot_us = t.slot_us
"""


async def insert(connection: Connection, rows: Sequence[Row]) -> set[Key]:
    """Store what becomes of slots; return those of which nothing had become before."""
    if not rows:
        return set()
    until: list[Array] = [Ints([row.until for row in rows]), Ints([row.count for row in rows])]
    return {Key(*key) for key in await prepared.rows(connection, _INSERT, [*_arrays(rows), *until])}


async def change(connection: Connection, rows: Sequence[Row]) -> None:
    """Store what has become of slots that waited, or could not be fired."""
    if rows:
        await prepared.rows(connection, _CHANGE, _arrays(rows))


async def close(connection: Connection, keys: Sequence[Key]) -> None:
    """Take note that nothing of these slots goes on."""
    if keys:
        await prepared.rows(connection, _CLOSE, _keys(keys))


def _keys(keys: Sequence[Key]) -> list[Array]:
    return [
        Uuids([key.schedule_id for key in keys]),
        Texts([key.kind for key in keys]),
        Ints([key.slot for key in keys]),
    ]


def _arrays(rows: Sequence[Row]) -> list[Array]:
    return [
        *_keys([row.key for row in rows]),
        Texts([row.result for row in rows]),
        Texts([row.reason or None for row in rows]),
        Texts([row.run_id for row in rows]),
        Bools([row.is_open for row in rows]),
    ]


# -- what is not over


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A slot that waits, or whose run may go on."""

    key: Key
    run_id: str | None
    """None of one that waits."""


# `slots_open` from both ends for each schedule, then primary keys. Who decides locks them, so that a retry which opens
# one again comes before this look or behind its commit; whoever holds one commits soon.
_OPEN: Final = f"""
WITH found AS MATERIALIZED (
  SELECT o.* FROM unnest(%b) AS t(id) CROSS JOIN LATERAL (
    (SELECT x.schedule_id, x.kind, x.slot_us FROM aiki.slots x
      WHERE x.schedule_id = t.id AND (x.is_open OR x.result = 'queued') ORDER BY x.slot_us LIMIT {_OLDEST})
    UNION
    (SELECT x.schedule_id, x.kind, x.slot_us FROM aiki.slots x
      WHERE x.schedule_id = t.id AND (x.is_open OR x.result = 'queued') ORDER BY x.slot_us DESC LIMIT {_NEWEST})
  ) AS o
)
SELECT s.schedule_id::text, s.kind, s.slot_us, s.run_id::text
FROM found f JOIN aiki.slots s ON s.schedule_id = f.schedule_id AND s.kind = f.kind AND s.slot_us = f.slot_us
WHERE s.is_open OR s.result = 'queued'
ORDER BY s.schedule_id, s.slot_us, s.kind
"""
_LOCK_OPEN: Final = f"{_OPEN} FOR NO KEY UPDATE OF s"


async def unfinished(connection: Connection, schedule_ids: Sequence[str], *, lock: bool) -> dict[str, list[Unfinished]]:
    """Return the slots of schedules that are not over, in order, and lock them if that is wanted."""
    made: dict[str, list[Unfinished]] = {}
    for *key, run_id in await prepared.rows(connection, _LOCK_OPEN if lock else _OPEN, [Uuids(schedule_ids)]):
        made.setdefault(key[0], []).append(Unfinished(Key(*key), run_id))
    return made


# The unique index of schedules' names, then the primary key. Whoever judges a slot of these holds its row until its
# commit, and reads behind its lock what has become of the run.
_REOPEN: Final = """
UPDATE aiki.slots s SET is_open = true
FROM unnest(%b, %b, %b, %b, %b) AS t(namespace, name, kind, slot_us, run_id)
JOIN aiki.schedules c ON c.namespace = t.namespace AND c.name = t.name
WHERE s.schedule_id = c.id AND s.kind = t.kind AND s.slot_us = t.slot_us AND s.run_id = t.run_id
"""


async def reopen(connection: Connection, fired: Sequence[tuple[str, str, Fired]]) -> None:
    """Take note that runs go on that were fired: their namespaces, the first of their origins, and their slots."""
    parameters: list[Array] = [
        Texts([namespace for namespace, _, _ in fired]),
        Texts([of.schedule for _, _, of in fired]),
        Texts([of.kind for _, _, of in fired]),
        Ints([of.slot for _, _, of in fired]),
        Uuids([run_id for _, run_id, _ in fired]),
    ]
    await prepared.rows(connection, _REOPEN, parameters)


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a slot's run: the state of its newest retry, None if it is gone."""

    state: State | None
    open: Sequence[str]
    """Runs that have not ended: that, or some that have come of it."""
    untold: Sequence[str]
    """Those of them that nobody has cancelled."""


_ENDED: Final = quoted(TERMINAL)
# Primary keys, and `children`'s own from the left: only of runs that have children, or were retried. A run's retries
# and children are looked at when it has ended, until some that go on are found.
_FATES: Final = f"""
SELECT t.id::text, n.state,
  CASE WHEN n.state NOT IN ({_ENDED}) THEN ARRAY[n.id::text] WHEN more.are THEN f.open ELSE '{{}}' END,
  CASE WHEN n.state NOT IN ({_ENDED}) THEN CASE WHEN n.cancel_seq IS NULL THEN ARRAY[n.id::text] ELSE '{{}}' END
    WHEN more.are THEN f.untold ELSE '{{}}' END
FROM unnest(%b) AS t(id) LEFT JOIN aiki.runs r ON r.id = t.id
LEFT JOIN aiki.origins o ON o.origin_id = r.id LEFT JOIN aiki.runs n ON n.id = coalesce(o.run_id, r.id)
CROSS JOIN LATERAL (SELECT n.state IN ({_ENDED}) AND (r.children > 0 OR r.retried_by IS NOT NULL) AS are) AS more
LEFT JOIN LATERAL (
  WITH RECURSIVE family AS (
    SELECT r.id, r.state, r.cancel_seq, r.retried_by, r.children WHERE more.are
    UNION
    SELECT x.id, x.state, x.cancel_seq, x.retried_by, x.children FROM family y CROSS JOIN LATERAL (
      SELECT y.retried_by AS id WHERE y.retried_by IS NOT NULL
      UNION ALL SELECT c.run_id FROM aiki.children c WHERE y.children > 0 AND c.parent_id = y.id AND c.owned
    ) AS next JOIN aiki.runs x ON x.id = next.id
  )
  SELECT coalesce(array_agg(q.id::text) FILTER (WHERE q.state NOT IN ({_ENDED})), '{{}}') AS open,
    coalesce(array_agg(q.id::text) FILTER (WHERE q.state NOT IN ({_ENDED}) AND q.cancel_seq IS NULL), '{{}}') AS untold
  FROM (SELECT * FROM family LIMIT {_FAMILY}) AS q
) AS f ON more.are
"""


async def fates(connection: Connection, run_ids: Sequence[str]) -> dict[str, Fate]:
    """Return what has become of slots' runs. Of a family what lies beyond _FAMILY runs is not waited for."""
    if not run_ids:
        return {}
    rows = await prepared.rows(connection, _FATES, [Uuids(run_ids)])
    return {run_id: Fate(state and State(state), *open) for run_id, state, *open in rows}


# `slots_at`, backwards, or the primary key; then those of runs.
_LATEST: Final = f"""
SELECT s.slot_us, s.result, {MICROSECONDS.format("s.at")}, s.kind, coalesce(s.reason, ''), s.run_id::text,
  (SELECT n.state FROM aiki.runs r LEFT JOIN aiki.origins o ON o.origin_id = r.id
    JOIN aiki.runs n ON n.id = coalesce(o.run_id, r.id) WHERE r.id = s.run_id), s.until_us, s.count
FROM aiki.slots s WHERE s.schedule_id = (%b)[1] {{which}}
"""
_LAST: Final = _LATEST.format(which="ORDER BY s.at DESC, s.slot_us DESC LIMIT (%b)[1]")
_BETWEEN: Final = _LATEST.format(
    which="AND s.kind = (%b)[1] AND s.slot_us >= (%b)[1] AND s.slot_us < (%b)[1] ORDER BY s.slot_us"
)
_TAKEN: Final = """
SELECT s.slot_us FROM unnest(ARRAY['slot', 'backfill']) AS k(kind) JOIN aiki.slots s
  ON s.schedule_id = (%b)[1] AND s.kind = k.kind AND s.slot_us >= (%b)[1] AND s.slot_us < (%b)[1]
WHERE s.result IN ('started', 'queued')
"""
_MAX: Final = "SELECT coalesce(max(s.slot_us), 0) FROM aiki.slots s WHERE s.schedule_id = (%b)[1] AND s.kind = (%b)[1]"
_FIRED: Final = "SELECT r.fired FROM aiki.runs r WHERE r.id = (%b)[1] AND r.fired IS NOT NULL"
_IS_OF: Final = """
SELECT FROM aiki.slots s
WHERE s.schedule_id = (%b)[1] AND s.kind = (%b)[1] AND s.slot_us = (%b)[1] AND s.run_id = (%b)[1]
"""


async def latest(connection: Connection, schedule_id: str, *, limit: int) -> list[Slot]:
    """Return what became of the slots of a schedule that were decided last, the newest first."""
    return _slots(await prepared.rows(connection, _LAST, [Uuids([schedule_id]), Ints([limit])]))


async def between(connection: Connection, schedule_id: str, kind: Kind, start: int, end: int) -> list[Slot]:
    """Return what became of the slots from `start` up to `end`, in their order, where anything has."""
    return _slots(await prepared.rows(connection, _BETWEEN, [*_of(schedule_id, kind), Ints([start]), Ints([end])]))


async def taken(connection: Connection, schedule_id: str, start: int, end: int) -> set[int]:
    """Return the slots from `start` up to `end` that have a run, or are to have one, be it by a backfill."""
    rows = await prepared.rows(connection, _TAKEN, [Uuids([schedule_id]), Ints([start]), Ints([end])])
    return {slot for (slot,) in rows}


async def last(connection: Connection, schedule_id: str, kind: Kind) -> int:
    """Return the last slot of a kind, 0 if there is none."""
    ((slot,),) = await prepared.rows(connection, _MAX, _of(schedule_id, kind))
    return int(slot)


async def triggered(connection: Connection, schedule_id: str, run_id: str) -> int | None:
    """Return the slot of the trigger that has enqueued this run, None if none has."""
    for (fired,) in await prepared.rows(connection, _FIRED, [Uuids([run_id])]):
        slot: int = decoder(Fired).decode(fired).slot
        if await prepared.rows(connection, _IS_OF, [*_of(schedule_id, "trigger"), Ints([slot]), Uuids([run_id])]):
            return slot
    return None


def _of(schedule_id: str, kind: Kind) -> list[Array]:
    return [Uuids([schedule_id]), Texts([kind])]


def _slots(rows: Sequence[Sequence[Any]]) -> list[Slot]:
    return [
        Slot(slot, result, at, kind, reason, run_id, state and State(state), until, count)
        for slot, result, at, kind, reason, run_id, state, until, count in rows
    ]
