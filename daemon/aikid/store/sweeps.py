"""What the loops look for: queued rows to offer, due rows to wake."""

from __future__ import annotations

from typing import Final

from aiki.core.states import Move, State, sources, target
from aikid.store.pool import Connection
from aikid.store.sql import quoted

# One probe of `runs_queued` per known route, however long its queue is. A plain read.
_WAITING: Final = f"""
SELECT t.namespace, t.workflow, t.version, extract(epoch FROM now() - best.since)::float8
FROM aiki.routes t CROSS JOIN LATERAL (
  SELECT greatest(r.created_at, r.due_at, r.claimed_at) AS since FROM aiki.runs r
  WHERE r.namespace = t.namespace AND r.workflow = t.workflow AND r.version = t.version AND r.state = '{State.QUEUED}'
  ORDER BY (r.started_at IS NULL), r.priority DESC, r.created_at LIMIT 1
) AS best
"""
_QUEUED: Final = f"""
SELECT count(*) FROM (
  SELECT FROM aiki.runs r
  WHERE r.namespace = %s AND r.workflow = %s AND r.version = %s AND r.state = '{State.QUEUED}' LIMIT %s
) AS counted
"""


async def waiting(connection: Connection) -> dict[tuple[str, str, str], float]:
    """Return, for each route with queued runs, how many seconds the one that comes next has been queued."""
    cursor = await connection.execute(_WAITING, prepare=True, binary=True)
    return {(row[0], row[1], row[2]): row[3] for row in await cursor.fetchall()}


async def queued(connection: Connection, route: tuple[str, str, str], *, limit: int) -> int:
    """Return how many runs of the route are queued; counts no further than `limit`."""
    cursor = await connection.execute(_QUEUED, (*route, limit), prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def routes(connection: Connection) -> list[tuple[str, str, str]]:
    """Return all known routes."""
    cursor = await connection.execute("SELECT namespace, workflow, version FROM aiki.routes", prepare=True, binary=True)
    return await cursor.fetchall()


_PARKED: Final = quoted(sources(Move.DUE))
# `runs_due` from the left; SKIP LOCKED: several daemons share the rows and none waits.
_WAKE: Final = f"""
WITH due AS MATERIALIZED (
  SELECT r.id FROM aiki.runs r WHERE r.state IN ({_PARKED}) AND r.due_at <= now()
  ORDER BY r.due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), woken AS (
  UPDATE aiki.runs r SET state = '{target(Move.DUE)}', why = NULL, history_seq = r.history_seq + 1
  FROM due WHERE r.id = due.id RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move) SELECT id, history_seq, '{Move.DUE}' FROM woken
)
SELECT namespace, workflow, version, id::text FROM woken
"""
_NEXT: Final = f"""
SELECT extract(epoch FROM min(r.due_at) - now())::float8 FROM aiki.runs r WHERE r.state IN ({_PARKED})
"""


async def wake(connection: Connection, *, limit: int) -> list[tuple[str, str, str, str]]:
    """Queue at most `limit` runs that are due; return each as (namespace, workflow, version, id)."""
    cursor = await connection.execute(_WAKE, (limit,), prepare=True, binary=True)
    return await cursor.fetchall()


async def seconds_to_next(connection: Connection) -> float | None:
    """Return how long until the next parked run is due, None if none is parked."""
    cursor = await connection.execute(_NEXT, prepare=True, binary=True)
    row = await cursor.fetchone()
    return None if row is None else row[0]
