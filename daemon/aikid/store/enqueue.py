"""Insert runs, and tell a repeated enqueue from a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiki.core.states import State
from aiki.rules.enqueueing import Stored
from aiki.wire.codec import encode
from aiki.wire.messages import NewRun
from aikid.store.arrays import Array, Blobs, Ints, Texts, Uuids
from aikid.store.listing import LISTED
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS

Row: TypeAlias = tuple[str, NewRun]
"""A run to be inserted, as it was asked for, behind the namespace that it is for."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """What the insert did: the ids of the new runs (None if all rows were new), and of those that are due later.

    `due_seconds` is until the first of these; `now` is the database's clock, when the new runs were born.
    """

    made: frozenset[str] | None
    later: frozenset[str]
    due_seconds: float | None
    now: int


# Both unique indexes may refuse a row: a repeated id or a known key. Neither blocks longer than another enqueue of
# the same id or key takes to commit. Rows go in by id, so that two batches with the same runs meet in one order;
# `place` keeps the callers' order for those that claim.
_INSERT: Final = f"""
WITH made AS (
  INSERT INTO aiki.runs
    (created_at, id, namespace, workflow, version, state, priority, input, key, digest, labels, due_at, origin_id)
  SELECT now() + place * interval '1 microsecond', id, namespace, workflow, version,
    CASE WHEN due > now() THEN '{State.SCHEDULED}' ELSE '{State.QUEUED}' END,
    priority, input, key, digest, labels::jsonb, CASE WHEN due > now() THEN due END, id
  FROM (
    SELECT t.*, coalesce(
      'epoch'::timestamptz + start_us * interval '1 microsecond', now() + delay_us * interval '1 microsecond') AS due
    FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
      AS t(place, id, namespace, workflow, version, priority, input, key, digest, labels, start_us, delay_us)
  ) AS new
  ON CONFLICT DO NOTHING
  RETURNING id, state, due_at, namespace, created_at, labels
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move) SELECT id, 0, 'enqueued' FROM made
), {LISTED}
SELECT CASE WHEN count(*) < (%b)[1] THEN coalesce(array_agg(id::text), '{{}}') END,
  array_agg(id::text) FILTER (WHERE state = '{State.SCHEDULED}'),
  extract(epoch FROM min(due_at) - now())::float8, {MICROSECONDS.format("now()")}
FROM made
"""


async def insert(connection: Connection, rows: Sequence[Row]) -> Inserted:
    """Insert the rows that are new, and return what was done. Raises ValueError for a number that is too large."""
    order = sorted(range(len(rows)), key=lambda place: rows[place][1].id)
    namespaces = [rows[place][0] for place in order]
    runs = [rows[place][1] for place in order]
    options = [run.options for run in runs]
    parameters: list[Array] = [
        Ints(order),
        Uuids([run.id for run in runs]),
        Texts(namespaces),
        Texts([run.workflow for run in runs]),
        Texts([run.version for run in runs]),
        Ints([one.priority for one in options]),
        Blobs([bytes(run.input) for run in runs]),
        Texts([one.key for one in options]),
        Texts([run.digest for run in runs]),
        Texts([encode(one.labels).decode() if one.labels else None for one in options]),
        Ints([one.start_at for one in options]),
        Ints([one.delay for one in options]),
        Ints([len(rows)]),
    ]
    cursor = await connection.execute(_INSERT, parameters, prepare=True, binary=True)
    found = await cursor.fetchone()
    assert found is not None
    made, later, due_seconds, now = found
    return Inserted(None if made is None else frozenset(made), frozenset(later or ()), due_seconds, now)


_STORED: Final = f"""
r.id::text, r.namespace, r.workflow, r.version, r.key, r.digest, sha256(r.input), r.state = '{State.QUEUED}'
"""
# Primary key and `runs_key`; a plain read that waits for nobody.
_BY_ID: Final = f"SELECT {_STORED} FROM aiki.runs r WHERE r.id = ANY(%b)"
_BY_KEY: Final = f"""
SELECT {_STORED}
FROM unnest(%b, %b, %b) AS t(namespace, workflow, key)
JOIN aiki.runs r ON r.namespace = t.namespace AND r.workflow = t.workflow AND r.key = t.key AND r.key IS NOT NULL
"""


async def find_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Stored]:
    """Return the runs of these ids in any namespace, by id."""
    cursor = await connection.execute(_BY_ID, [Uuids(ids)], prepare=True, binary=True)
    return {row[0]: Stored(*row) for row in await cursor.fetchall()}


async def find_by_key(connection: Connection, rows: Sequence[Row]) -> dict[tuple[str, str, str], Stored]:
    """Return the runs that hold the rows' idempotency keys, by (namespace, workflow, key)."""
    keyed = [(namespace, run.workflow, run.options.key) for namespace, run in rows if run.options.key is not None]
    parameters = [Texts([item[column] for item in keyed]) for column in range(3)]
    cursor = await connection.execute(_BY_KEY, parameters, prepare=True, binary=True)
    found = [Stored(*row) for row in await cursor.fetchall()]
    return {(one.namespace, one.workflow, one.key or ""): one for one in found}
