"""Bury sessions whose lease has run out, and queue their runs again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiki.core.states import Event, State, target
from aikid.store.arrays import Uuids
from aikid.store.pool import Connection

CRASHES_SUSPECT: Final = 2
CRASHES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Rescued:
    """A run that its worker lost, and what became of it."""

    namespace: str
    workflow: str
    version: str
    id: str
    event: Event
    due_seconds: float | None


# One sweeper at a time: the others find the row locked and leave it to that one.
_LAST: Final = """
SELECT swept_at::text, extract(epoch FROM now() - swept_at)::float8 FROM aiki.sweeps FOR UPDATE SKIP LOCKED
"""
_SWEPT: Final = "UPDATE aiki.sweeps SET swept_at = now()"
GAP_SECONDS: Final = 1.5
"""Three sweeps: less is no gap, or a lease of a second would be prolonged at each sweep, for ever."""
# A session that lived when the gap began could not renew: it gets one lease more.
_AMNESTY: Final = f"""
UPDATE aiki.sessions SET expires_at = greatest(expires_at, now() + ttl)
WHERE closed_at IS NULL AND expires_at > %s::timestamptz
  AND greatest(ttl / 2, {GAP_SECONDS} * interval '1 second') < %s * interval '1 second'
"""


async def begin(connection: Connection) -> int | None:
    """Take the sweep: return how many sessions got an amnesty, or None if another daemon is sweeping.

    Inside a transaction. Sessions alive at the start of a gap longer than half their lease get one lease more.
    """
    cursor = await connection.execute(_LAST, prepare=True, binary=True)
    row = await cursor.fetchone()
    if row is None:
        return None
    swept_at, gap = row
    cursor = await connection.execute(_AMNESTY, (swept_at, gap), prepare=True)
    await connection.execute(_SWEPT, prepare=True)
    return cursor.rowcount


# FOR UPDATE conflicts with a claim's FOR KEY SHARE: such a session is left to the next sweep.
_BURY: Final = """
WITH dead AS MATERIALIZED (
  SELECT id FROM aiki.sessions WHERE closed_at IS NULL AND expires_at <= now()
  ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
)
UPDATE aiki.sessions s SET closed_at = now() FROM dead WHERE s.id = dead.id RETURNING s.id::text
"""


async def bury(connection: Connection) -> list[str]:
    """Close sessions whose lease has run out; return their ids."""
    cursor = await connection.execute(_BURY, prepare=True, binary=True)
    return [row[0] for row in await cursor.fetchall()]


_OF_SESSIONS: Final = "r.session_id = ANY(%b)"
_ORPHANS: Final = """NOT EXISTS (SELECT FROM aiki.sessions s WHERE s.id = r.session_id AND s.closed_at IS NULL)"""
# `runs_running`; locks in id order and waits for a record in flight, at most `lock_timeout`. The claim_id is wiped:
# whatever the lost worker still sends is fenced. The journal is read by its primary key.
_RESCUE: Final = f"""
WITH lost AS MATERIALIZED (
  SELECT r.id, r.crash_count, r.crash_length, r.session_id FROM aiki.runs r
  WHERE r.state = '{State.RUNNING}' AND {{which}} ORDER BY r.id FOR NO KEY UPDATE OF r
), measured AS MATERIALIZED (
  SELECT l.*, coalesce((SELECT max(j.seq) FROM aiki.journal j WHERE j.run_id = l.id), 0) AS length FROM lost l
), judged AS MATERIALIZED (
  SELECT m.*, CASE WHEN length > crash_length THEN 1 ELSE crash_count + 1 END AS crashes FROM measured m
), decided AS MATERIALIZED (
  SELECT d.*, coalesce((SELECT s.worker FROM aiki.sessions s WHERE s.id = d.session_id), 'unknown') AS worker,
    CASE WHEN crashes >= {CRASHES_MAX} THEN '{Event.CRASH_LOOP}'
      WHEN crashes >= {CRASHES_SUSPECT} THEN '{Event.BACK_OFF}' ELSE '{Event.RESCUE}' END AS event
  FROM judged d
), moved AS (
  UPDATE aiki.runs r SET claim_id = NULL, session_id = NULL, history_seq = r.history_seq + 1,
    crash_count = d.crashes, crash_length = d.length,
    state = CASE d.event WHEN '{Event.CRASH_LOOP}' THEN '{target(Event.CRASH_LOOP)}'
      WHEN '{Event.BACK_OFF}' THEN '{target(Event.BACK_OFF)}' ELSE '{target(Event.RESCUE)}' END,
    due_at = CASE d.event WHEN '{Event.BACK_OFF}' THEN now() + interval '1 second' * power(2, d.crashes - 1) END,
    why = CASE d.event WHEN '{Event.CRASH_LOOP}' THEN
        'crash_loop: it killed its worker ' || d.crashes || ' times without progress'
      WHEN '{Event.BACK_OFF}' THEN 'its worker died ' || d.crashes || ' times without progress' END
  FROM decided d WHERE r.id = d.id
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.due_at, d.event, d.worker
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, event, reason)
  SELECT id, history_seq, event, 'worker ' || worker || ' lost its lease' FROM moved
)
SELECT namespace, workflow, version, id::text, event, extract(epoch FROM due_at - now())::float8 FROM moved
"""
_RESCUE_OF: Final = _RESCUE.format(which=_OF_SESSIONS)
_RESCUE_ORPHANS: Final = _RESCUE.format(which=_ORPHANS)


async def rescue(connection: Connection, sessions: list[str]) -> list[Rescued]:
    """Take the runs of dead sessions from them. After `bury` in the same transaction, as a statement of its own.

    Only then is a claim seen that was under way while the session was locked.
    """
    cursor = await connection.execute(_RESCUE_OF, [Uuids(sessions)], prepare=True, binary=True)
    return [_rescued(*row) for row in await cursor.fetchall()]


async def rescue_orphans(connection: Connection) -> list[Rescued]:
    """Take running runs that belong to no open session."""
    cursor = await connection.execute(_RESCUE_ORPHANS, prepare=True, binary=True)
    return [_rescued(*row) for row in await cursor.fetchall()]


def _rescued(namespace: str, workflow: str, version: str, id: str, event: str, due: float | None) -> Rescued:
    return Rescued(namespace, workflow, version, id, Event(event), due)


_FORGET: Final = "DELETE FROM aiki.sessions WHERE closed_at < now() - interval '1 hour'"


async def forget_sessions(connection: Connection) -> None:
    """Delete the rows of sessions that ended long ago."""
    await connection.execute(_FORGET, prepare=True)
