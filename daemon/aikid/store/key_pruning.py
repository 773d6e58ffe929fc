"""Delete what stays of keys of tasks: results that have expired, and what runs had or waited for that are over.

As `pruning` does, batch by batch. Nothing is decided by it: such rows say of a key what there is to say without them.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from aiki.core.states import TERMINAL
from aikid.store.pruning import BATCH, Cursor
from aikid.store.sql import MICROSECONDS, quoted
from aikid.store.task_keys import KEY, on_key

_FIRST: Final = "00000000-0000-0000-0000-000000000000"
_TERMINAL: Final = quoted(TERMINAL)
_OF_K: Final = ", ".join(f"k.{column}" for column in KEY.split(", "))

# `task_keys_expiring` from the left. One that is taken anew meanwhile has another time, or none.
_RESULTS: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT {KEY}, k.expires_at FROM aiki.task_keys k
  WHERE k.expires_at <= aiki.now() AND k.expires_at > 'epoch'::timestamptz + %s * interval '1 microsecond'
  ORDER BY k.expires_at LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT {_OF_K} FROM seen s JOIN aiki.task_keys k ON {on_key("k", "s")}
  WHERE k.expires_at <= aiki.now() FOR UPDATE OF k SKIP LOCKED
), gone AS (
  DELETE FROM aiki.task_keys k USING old o WHERE {on_key("k", "o")} RETURNING k.key
)
SELECT (SELECT count(*) FROM gone), {MICROSECONDS.format("last.expires_at")}
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""
# `task_keys_owned` from where the last batch ended, and primary keys. A run that has ended, or is gone, stays so; who
# takes the key meanwhile is another run.
_OWNED: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT k.run_id, {KEY} FROM aiki.task_keys k WHERE k.done_at IS NULL AND k.run_id > %s::uuid
  ORDER BY k.run_id LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT {_OF_K} FROM seen s JOIN aiki.task_keys k ON {on_key("k", "s")}
  LEFT JOIN aiki.runs r ON r.id = s.run_id
  WHERE k.run_id = s.run_id AND k.done_at IS NULL AND (r.id IS NULL OR r.state IN ({_TERMINAL}))
    AND NOT EXISTS (SELECT FROM aiki.sessions l WHERE l.id = k.session_id AND l.closed_at IS NULL)
  FOR UPDATE OF k SKIP LOCKED
), gone AS (
  DELETE FROM aiki.task_keys k USING old o WHERE {on_key("k", "o")} RETURNING k.key
)
SELECT (SELECT count(*) FROM gone), last.run_id::text
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""
# The primary key from where the last batch ended, and that of `runs`. Who is in another generation has asked anew, or
# does not want it any more.
_WAITERS: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT {KEY}, w.run_id, w.generation FROM aiki.task_key_waiters w
  WHERE ({KEY}, run_id) > (%s, %s, %s, %s, %s::uuid) ORDER BY {KEY}, run_id LIMIT {BATCH}
), old AS MATERIALIZED (
  SELECT w.ctid AS place FROM seen s JOIN aiki.task_key_waiters w
    ON {on_key("w", "s")} AND w.run_id = s.run_id AND w.generation = s.generation
  LEFT JOIN aiki.runs r ON r.id = s.run_id
  WHERE r.id IS NULL OR r.generation <> s.generation OR r.state IN ({_TERMINAL})
  FOR UPDATE OF w SKIP LOCKED
), gone AS (
  DELETE FROM aiki.task_key_waiters w WHERE w.ctid = ANY(ARRAY(SELECT o.place FROM old o)) RETURNING w.key
)
SELECT (SELECT count(*) FROM gone), last.namespace, last.scope, last.task, last.key, last.run_id::text
FROM (SELECT) AS always LEFT JOIN (SELECT * FROM seen OFFSET {BATCH} - 1) AS last ON true
"""


class KeyKind(Enum):
    """What is pruned of keys of tasks."""

    RESULTS = _RESULTS
    OWNED = _OWNED
    WAITERS = _WAITERS

    @property
    def beginning(self) -> Cursor:
        """Where the first batch begins."""
        return _BEGINNINGS[self.name]


_BEGINNINGS: Final[dict[str, Cursor]] = {"RESULTS": (0,), "OWNED": (_FIRST,), "WAITERS": ("", "", "", "", _FIRST)}
