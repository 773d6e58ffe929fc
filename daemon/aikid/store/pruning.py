"""Delete what no run needs any more: arrivals that it has consumed, what its earlier generations have left, old slots.

And keys of runs that are gone, and counts of minutes, when their own time is over.
Of generations the journals go, and the story but for the line that each of the last has ended with: whoever reads of a
run that has gone on ten thousand times reads of the last few, and of all that has happened since.

Each statement looks at a batch and deletes what may go of it. Whatever says so is final (a run that has ended stays
ended, a generation that was left is never entered again), so it is read without a lock; rows that another holds are
for the next time. Where the next batch begins is the caller's to keep.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from aiki.core.states import State
from aiki.rules.arriving import CHILD
from aikid.store.deleting import LEFT_OVER
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS

BATCH: Final = 1_000
KEPT_SECONDS: Final = 24 * 60 * 60
"""For how long a consumed arrival is kept at least: a send that is repeated until then is taken once."""
KEPT_GENERATIONS: Final = 20
"""So many of those that a run has left last are told of, a line each."""
KEPT_SLOTS: Final = 1_000
"""So many slots of a schedule are told of however old they are; others for KEPT_SLOT_DAYS."""
KEPT_SLOT_DAYS: Final = 90
KEPT_MINUTES_SECONDS: Final = 25 * 60 * 60
"""For how long it is kept what was done in a minute: each of a day is there whole."""
_OLD: Final = f"(aiki.now() - {KEPT_SLOT_DAYS} * interval '1 day')"
_REPEATED_SECONDS: Final = 60
"""For how long the last lines stay whole: by them the repeat of what ended a claim is known."""
Cursor: TypeAlias = tuple[int | str, ...]
_FIRST: Final = "00000000-0000-0000-0000-000000000000"
_BEGINNINGS: Final[dict[str, Cursor]] = {"CONSUMED": (0, _FIRST, 0), "KEYS": (0,), "MINUTES": (0,)}
"""Where those do not begin at the first id that walk in another order."""

# `inbox_taken` from where the last batch ended, and primary keys. What a run that can be retried has consumed it may
# have to consume again; and by the ends of children a journal is read, as long as there is one.
_CONSUMED: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT i.at_us, i.run_id, i.number, i.taken_generation FROM aiki.inbox i
  WHERE i.taken_seq IS NOT NULL AND i.at_us < {MICROSECONDS.format("aiki.now()")} - {KEPT_SECONDS} * 1000000::bigint
    AND (i.at_us, i.run_id, i.number) > (%s::bigint, %s::uuid, %s::bigint)
  ORDER BY i.at_us, i.run_id, i.number LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT i.run_id, i.number
  FROM seen s JOIN aiki.inbox i ON i.run_id = s.run_id AND i.number = s.number LEFT JOIN aiki.runs r ON r.id = s.run_id
  WHERE i.taken_seq IS NOT NULL
    AND (r.id IS NULL OR r.generation <> s.taken_generation OR (r.state = '{State.COMPLETED}' AND i.kind <> '{CHILD}'))
  FOR UPDATE OF i SKIP LOCKED
), gone AS (
  DELETE FROM aiki.inbox i USING old o WHERE i.run_id = o.run_id AND i.number = o.number RETURNING i.number
)
SELECT (SELECT count(*) FROM gone), last.at_us, last.run_id::text, last.number
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""


def _left(table: str, *key: str) -> str:
    """Return the statement for rows of earlier generations: `runs_continued`, and ranges of the table's primary key.

    Only what is drawn through both limits is locked: a batch.
    """
    return f"""
WITH seen AS MATERIALIZED (
  SELECT r.id, r.generation FROM aiki.runs r WHERE r.generation > 0 AND r.id > %s::uuid ORDER BY r.id LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT o.* FROM seen s CROSS JOIN LATERAL (
    SELECT {", ".join(f"x.{column}" for column in key)} FROM aiki.{table} x
    WHERE x.run_id = s.id AND x.generation < s.generation LIMIT {BATCH} FOR UPDATE SKIP LOCKED
  ) AS o LIMIT {BATCH}
), gone AS (
  DELETE FROM aiki.{table} x USING old o WHERE {" AND ".join(f"x.{column} = o.{column}" for column in key)}
  RETURNING x.run_id
)
SELECT (SELECT count(*) FROM gone), last.id::text
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""


# `runs_continued`, `generations_pkey`, and of `run_history` its primary key up to where the last generation begins: so
# what is looked at and stays is a line for each that is told of.
_STORIES: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT r.id, r.generation FROM aiki.runs r WHERE r.generation > 0 AND r.id > %s::uuid ORDER BY r.id LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT o.* FROM seen s JOIN aiki.generations g ON g.run_id = s.id AND g.generation = s.generation
  CROSS JOIN LATERAL (
    SELECT h.run_id, h.seq FROM aiki.run_history h
    WHERE h.run_id = s.id AND h.seq < g.history_seq
      AND h.at < aiki.now() - {_REPEATED_SECONDS} * interval '1 second' AND h.seq NOT IN (
      SELECT k.history_seq FROM aiki.generations k
      WHERE k.run_id = s.id AND k.generation > s.generation - {KEPT_GENERATIONS})
    LIMIT {BATCH} FOR UPDATE SKIP LOCKED
  ) AS o LIMIT {BATCH}
), gone AS (
  DELETE FROM aiki.run_history h USING old o WHERE h.run_id = o.run_id AND h.seq = o.seq RETURNING h.seq
), forgotten AS (
  DELETE FROM aiki.generations k USING seen s
  WHERE k.run_id = s.id AND k.generation <= s.generation - {KEPT_GENERATIONS}
)
SELECT (SELECT count(*) FROM gone), last.id::text
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""


# The primary key of `slots`, from one schedule to the next, and of each that has any so old `slots_at` from the left.
_SLOTS: Final = f"""
WITH RECURSIVE next AS (
  (SELECT s.schedule_id AS id, 1 AS n FROM aiki.slots s WHERE s.schedule_id > %s::uuid ORDER BY s.schedule_id LIMIT 1)
  UNION ALL
  SELECT (SELECT s.schedule_id FROM aiki.slots s WHERE s.schedule_id > x.id ORDER BY s.schedule_id LIMIT 1), x.n + 1
  FROM next x WHERE x.id IS NOT NULL AND x.n < {BATCH}
), seen AS MATERIALIZED (
  SELECT x.id, x.n, NOT EXISTS (SELECT FROM aiki.schedules c WHERE c.id = x.id) AS is_gone
  FROM next x WHERE x.id IS NOT NULL
), old AS MATERIALIZED (
  SELECT o.* FROM seen s CROSS JOIN LATERAL (SELECT CASE
      WHEN s.is_gone THEN 'infinity'
      WHEN EXISTS (SELECT FROM aiki.slots x WHERE x.schedule_id = s.id AND x.at < {_OLD}) THEN least({_OLD},
        (SELECT x.at FROM aiki.slots x WHERE x.schedule_id = s.id ORDER BY x.at DESC OFFSET {KEPT_SLOTS} - 1 LIMIT 1))
    END AS at) AS kept CROSS JOIN LATERAL (
    SELECT x.schedule_id, x.kind, x.slot_us FROM aiki.slots x
    WHERE x.schedule_id = s.id AND x.at < kept.at AND (s.is_gone OR NOT x.is_open AND x.result <> 'queued')
    LIMIT {BATCH} FOR UPDATE SKIP LOCKED
  ) AS o LIMIT {BATCH}
), gone AS (
  DELETE FROM aiki.slots x USING old o
  WHERE x.schedule_id = o.schedule_id AND x.kind = o.kind AND x.slot_us = o.slot_us RETURNING x.kind
)
SELECT (SELECT count(*) FROM gone), last.id::text
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen WHERE n = {BATCH}) AS last ON true
"""


# `keys_expiring` from the left. A key that is taken anew meanwhile has no such time any more.
_KEYS: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT k.namespace, k.workflow, k.key, k.expires_at FROM aiki.keys k
  WHERE k.expires_at < aiki.now() AND k.expires_at > 'epoch'::timestamptz + %s * interval '1 microsecond'
  ORDER BY k.expires_at LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT k.namespace, k.workflow, k.key FROM seen s
  JOIN aiki.keys k ON k.namespace = s.namespace AND k.workflow = s.workflow AND k.key = s.key
  WHERE k.expires_at < aiki.now() FOR UPDATE OF k SKIP LOCKED
), gone AS (
  DELETE FROM aiki.keys k USING old o
  WHERE k.namespace = o.namespace AND k.workflow = o.workflow AND k.key = o.key RETURNING k.key
)
SELECT (SELECT count(*) FROM gone), {MICROSECONDS.format("last.expires_at")}
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""


# `errands`' primary key, of which there are few; then ranges of others', no further than what is deleted. Nobody writes
# to a run that is gone.
_LEFT_OVER: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT e.run_id FROM aiki.errands e WHERE e.kind = '{LEFT_OVER}' AND e.run_id > %s::uuid ORDER BY e.run_id LIMIT 1
  FOR UPDATE SKIP LOCKED
), starts AS (
  DELETE FROM aiki.children x WHERE x.ctid = ANY(ARRAY(SELECT f.ctid FROM seen s CROSS JOIN LATERAL (
    SELECT c.ctid FROM aiki.children c WHERE c.parent_id = s.run_id LIMIT {BATCH} / 2) AS f)) RETURNING 1
), arrivals AS (
  DELETE FROM aiki.inbox x WHERE x.ctid = ANY(ARRAY(SELECT f.ctid FROM seen s CROSS JOIN LATERAL (
    SELECT i.ctid FROM aiki.inbox i WHERE i.run_id = s.run_id LIMIT {BATCH} / 2) AS f)) RETURNING 1
), done AS (
  DELETE FROM aiki.errands e USING seen s WHERE e.run_id = s.run_id AND e.kind = '{LEFT_OVER}'
    AND NOT EXISTS (SELECT FROM starts) AND NOT EXISTS (SELECT FROM arrivals) RETURNING 1
)
SELECT (SELECT count(*) FROM starts) + (SELECT count(*) FROM arrivals) + (SELECT count(*) FROM done), NULL::text
"""


# `minutes_written` from the left. Nobody writes to a row that is there.
_MINUTES: Final = f"""
WITH old AS MATERIALIZED (
  SELECT m.ctid FROM aiki.minutes m
  WHERE m.written_at < aiki.now() - {KEPT_MINUTES_SECONDS} * interval '1 second'
    AND m.written_at > 'epoch'::timestamptz + %s * interval '1 microsecond'
  ORDER BY m.written_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM aiki.minutes m WHERE m.ctid = ANY(ARRAY(SELECT o.ctid FROM old o)) RETURNING 1
)
SELECT (SELECT count(*) FROM gone), NULL::bigint
"""


class Kind(Enum):
    """What is pruned."""

    CONSUMED = _CONSUMED
    JOURNAL = _left("journal", "run_id", "generation", "seq")
    ATTEMPTS = _left("attempts", "run_id", "generation", "key", "attempt")
    TASK_COUNTS = _left("task_counts", "run_id", "generation", "seq")
    STORIES = _STORIES
    SLOTS = _SLOTS
    KEYS = _KEYS
    LEFT_OVER = _LEFT_OVER
    MINUTES = _MINUTES

    @property
    def beginning(self) -> Cursor:
        """Where the first batch begins."""
        return _BEGINNINGS.get(self.name, (_FIRST,))


async def prune(connection: Connection, statement: str, after: Cursor) -> tuple[int, Cursor | None]:
    """Delete what may go of the batch after `after`, by the `statement` of its kind; return how many rows that were.

    And where the next batch begins: that is None when there is no other.
    """
    cursor = await connection.execute(statement, after, prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    count, *last = row
    if count == BATCH:
        return count, after
    return count, tuple(last) if last[0] is not None else None
