"""What is due."""

from __future__ import annotations

from typing import Final

from aiki.core.states import Move, sources, target
from aikid.store.pool import Connection
from aikid.store.sql import quoted

_PARKED: Final = quoted(sources(Move.DUE))
# `runs_due` from the left; SKIP LOCKED: several daemons share the rows and none waits.
_WAKE: Final = f"""
WITH due AS MATERIALIZED (
  SELECT r.id FROM aiki.runs r WHERE r.state IN ({_PARKED}) AND r.due_at <= aiki.now()
  ORDER BY r.due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), woken AS (
  UPDATE aiki.runs r SET state = '{target(Move.DUE)}', why = NULL, waits = NULL,
    history_seq = r.history_seq + 1
  FROM due WHERE r.id = due.id RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move) SELECT id, history_seq, '{Move.DUE}' FROM woken
)
SELECT namespace, workflow, version, id::text FROM woken
"""
# `runs_due` and `deadlines_look`, the first row of each.
_NEXT: Final = f"""
SELECT extract(epoch FROM least(
  (SELECT min(r.due_at) FROM aiki.runs r WHERE r.state IN ({_PARKED})),
  (SELECT min(d.look_at) FROM aiki.deadlines d WHERE d.look_at IS NOT NULL)) - aiki.now())::float8
"""


async def wake(connection: Connection, *, limit: int) -> list[tuple[str, str, str, str]]:
    """Queue at most `limit` runs that are due; return each as (namespace, workflow, version, id)."""
    cursor = await connection.execute(_WAKE, (limit,), prepare=True, binary=True)
    return await cursor.fetchall()


async def seconds_to_next(connection: Connection) -> float | None:
    """Return how long until the next parked run is due or the next deadline passes, None if there is neither."""
    cursor = await connection.execute(_NEXT, prepare=True, binary=True)
    row = await cursor.fetchone()
    return None if row is None else row[0]
