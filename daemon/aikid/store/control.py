"""Move runs at a person's word."""

from __future__ import annotations

from typing import Final

from aiki.core.states import Move, sources, target
from aikid.store.deadlines import RESUMED
from aikid.store.pool import Connection
from aikid.store.sql import quoted

# One row by its primary key; waits at most for the statement that is changing it.
_RESUME: Final = f"""
WITH freed AS (
  UPDATE aiki.runs r SET state = '{target(Move.RESUME)}', due_at = NULL, why = NULL, claim_id = NULL,
    crash_count = 0, finished_at = NULL, history_seq = r.history_seq + 1
  WHERE r.id = %s AND r.namespace = %s AND r.state IN ({quoted(sources(Move.RESUME))})
  RETURNING r.id, r.history_seq, r.workflow, r.version
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor) SELECT id, history_seq, '{Move.RESUME}', %s FROM freed
), {RESUMED}
SELECT workflow, version FROM freed
"""


async def resume(connection: Connection, namespace: str, run_id: str, actor: str | None) -> tuple[str, str] | None:
    """Queue the run if its state allows it; return its workflow and version, else None."""
    cursor = await connection.execute(_RESUME, (run_id, namespace, actor), prepare=True, binary=True)
    return await cursor.fetchone()
