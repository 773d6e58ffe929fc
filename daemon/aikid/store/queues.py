"""What is queued, and for how long."""

from __future__ import annotations

from typing import Final

from aiki.core.states import State
from aikid.store.pool import Connection

# One probe of `runs_queued` per known route, however long its queue is. A plain read.
_WAITING: Final = f"""
SELECT t.namespace, t.workflow, t.version, extract(epoch FROM aiki.now() - best.since)::float8
FROM aiki.routes t CROSS JOIN LATERAL (
  SELECT greatest(r.created_at, r.due_at, r.last_claimed_at) AS since FROM aiki.runs r
  WHERE r.namespace = t.namespace AND r.workflow = t.workflow AND r.version = t.version AND r.state = '{State.QUEUED}'
  ORDER BY r.priority DESC, (r.started_at IS NULL), r.created_at LIMIT 1
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
