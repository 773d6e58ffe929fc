"""Give runs to another version of their workflow: many in one statement, each as its state allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiki.core.states import MOVED, Move, State, target
from aiki.rules.rerouting import MOVABLE
from aikid.store.arrays import Ints, Uuids
from aikid.store.deadlines import RESUMED
from aikid.store.own_retries import EARLY
from aikid.store.pool import Connection
from aikid.store.sql import quoted

# Rows by their primary keys, locked in id order; each is waited for as long as the statement that is changing it takes.
# Whether the version is registered is a look at the primary key of its route. A claim that was looking for runs of the
# version before compares that when it has the row (`store/claims.py`).
_MOVE: Final = f"""
WITH held AS MATERIALIZED (
  SELECT r.id, r.state, r.epoch, r.workflow, r.version, r.imported IS NOT NULL AS is_imported, t.claims
  FROM unnest(%(ids)b, %(claims)b) AS t(id, claims) JOIN aiki.runs r ON r.id = t.id
  WHERE r.namespace = %(namespace)s ORDER BY r.id FOR NO KEY UPDATE OF r
), looked AS MATERIALIZED (
  SELECT h.*, %(force)s OR EXISTS (
    SELECT FROM aiki.routes t WHERE t.namespace = %(namespace)s AND t.workflow = h.workflow
      AND t.version = %(version)s AND t.registered_at IS NOT NULL) AS is_registered
  FROM held h
), moved AS (
  UPDATE aiki.runs r SET version = %(version)s, history_seq = r.history_seq + 1 + k.is_freed::int,
    state = CASE WHEN k.is_freed THEN '{target(Move.RESUME)}' ELSE r.state END,
    why = CASE WHEN NOT k.is_freed THEN r.why END, claim_id = CASE WHEN NOT k.is_freed THEN r.claim_id END,
    crash_count = CASE WHEN k.is_freed THEN 0 ELSE r.crash_count END,
    due_at = CASE WHEN NOT k.is_freed THEN r.due_at END
  FROM (SELECT *, state = '{State.BLOCKED}' AND NOT %(keep_blocked)s AS is_freed FROM looked) AS k
  WHERE r.id = k.id AND k.state IN ({quoted(MOVABLE)}) AND k.version <> %(version)s AND NOT k.is_imported
    AND k.is_registered AND (k.claims IS NULL OR k.claims = k.epoch)
  RETURNING r.id, r.history_seq, r.state, k.version AS before, k.is_freed
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor)
  SELECT id, history_seq - is_freed::int, '{MOVED}', 'from ' || before || ' to ' || %(version)s, %(actor)s FROM moved
  UNION ALL SELECT id, history_seq, '{Move.RESUME}', NULL, %(actor)s FROM moved WHERE is_freed
), freed AS (
  SELECT id FROM moved WHERE is_freed
), {RESUMED}, {EARLY.format("freed")}
SELECT l.id::text, l.state, l.epoch, l.workflow, l.version = %(version)s, l.is_imported, l.is_registered, m.state
FROM looked l LEFT JOIN moved m ON m.id = l.id
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """A run that was to go to another version, as it was before; and how it stands since, if it has gone."""

    before: State
    epoch: int
    workflow: str
    is_there: bool
    is_imported: bool
    is_registered: bool
    state: State | None


async def move(
    connection: Connection,
    namespace: str,
    claims: Mapping[str, int | None],
    version: str,
    *,
    keep_blocked: bool,
    force: bool,
    actor: str | None,
) -> dict[str, Looked]:
    """Have the runs be of this version; return those that there are, by id.

    Of each is told how often it had been claimed when it was looked at, if it was. By `force` nobody need have
    registered the version.
    """
    parameters = {
        "ids": Uuids([*claims]),
        "claims": Ints([*claims.values()]),
        "namespace": namespace,
        "version": version,
        "keep_blocked": keep_blocked,
        "force": force,
        "actor": actor,
    }
    cursor = await connection.execute(_MOVE, parameters, prepare=True, binary=True)
    return {
        run_id: Looked(State(before), epoch, workflow, is_there, is_imported, is_registered, state and State(state))
        for run_id, before, epoch, workflow, is_there, is_imported, is_registered, state in await cursor.fetchall()
    }
