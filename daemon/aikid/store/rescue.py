"""Bury sessions whose lease has run out, and queue the runs of closed sessions again.

Each function here is one statement and one commit, and each goes by what stands in the database alone. So wherever the
daemon freezes or dies between two of them, it holds no lock, and the next sweep of any other goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiki.core.states import Move, State, target
from aiki.rules.crashing import BACK_OFF_BASE, BACK_OFF_WHY, CRASH_LOOP_WHY, MOST, SUSPECT
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, counting

GAP_SECONDS: Final = 1.5
"""Three sweeps: less is no gap, or a lease of a second would be prolonged at each sweep, for ever."""
_GAP: Final = f"greatest(s.ttl / 5, {GAP_SECONDS} * interval '1 second')"
"""A worker trusts four fifths of its lease, by a clock that nobody sets: so much the database's may be set forward
without anybody having a run while another may still begin something of it. More is taken for time without sweeps."""
TAKEN: Final = 5_000
"""Runs that one statement fences or takes: a session may hold any number, and nobody else's runs must wait for them."""
CLOSED_SECONDS: Final = 10
"""For how long a sweep looks at the runs of a session that was closed; who finds some later looks at all that run."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: sessions whose lease begins anew or is over, and the seconds since any was closed last."""

    spared: int
    buried: int
    closed_seconds: float | None


@dataclass(frozen=True, slots=True)
class Rescued:
    """A run that its worker lost or left, and what became of it."""

    namespace: str
    workflow: str
    version: str
    id: str
    move: Move
    state: State
    due_seconds: float | None


# One sweeper at a time: who finds the row locked leaves the sessions to the other, which is about to commit. (Nobody
# is buried by a daemon that did not look at the gap in the very same statement: while it was frozen in between, all
# of them may have been, and the leases with them.) A session that lived when a gap began could not renew: it gets one
# lease more; its row is waited for. So do all when the clock was set back: no date of before says anything by it, and a
# lease would last for as long. One that is locked otherwise (`FOR UPDATE` conflicts with a claim's `FOR KEY SHARE`) is
# left to the next sweep. Walks the sessions, of which there are as many as workers of the last hour.
_SWEEP: Final = f"""
WITH last AS MATERIALIZED (
  SELECT swept_at, aiki.now() - swept_at AS gap FROM aiki.sweeps FOR NO KEY UPDATE SKIP LOCKED
), swept AS (
  UPDATE aiki.sweeps SET swept_at = aiki.now() WHERE EXISTS (SELECT FROM last)
), spared AS (
  UPDATE aiki.sessions s SET expires_at = aiki.now() + s.ttl FROM last l
  WHERE s.closed_at IS NULL
    AND (l.gap < -{_GAP} OR (l.gap > {_GAP} AND s.expires_at > l.swept_at))
  RETURNING s.id
), dead AS MATERIALIZED (
  SELECT s.id FROM aiki.sessions s, last l
  WHERE s.closed_at IS NULL AND s.expires_at <= aiki.now()
    AND (l.gap BETWEEN -{_GAP} AND {_GAP} OR (l.gap > {_GAP} AND s.expires_at <= l.swept_at))
  ORDER BY s.id LIMIT 100 FOR UPDATE OF s SKIP LOCKED
), buried AS (
  UPDATE aiki.sessions s SET closed_at = aiki.now() FROM dead d WHERE s.id = d.id RETURNING s.id
)
SELECT (SELECT count(*) FROM spared), (SELECT count(*) FROM buried),
  CASE WHEN EXISTS (SELECT FROM buried) THEN 0
    ELSE (SELECT extract(epoch FROM aiki.now() - max(closed_at)) FROM aiki.sessions WHERE closed_at <= aiki.now())
    END::float8
"""


async def sweep(connection: Connection) -> Swept:
    """Close sessions whose lease has run out, but for those that nobody could renew in a gap between two sweeps."""
    cursor = await connection.execute(_SWEEP, prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return Swept(*row)


class Lost(Enum):
    """Which runs are without a worker."""

    OF_CLOSED = f"""
r.session_id IN (SELECT s.id FROM aiki.sessions s WHERE s.closed_at > aiki.now() - interval '{CLOSED_SECONDS} seconds')
"""
    """Those of all sessions that were closed lately."""
    OF_ONE = """
r.namespace = %s AND r.session_id = %s
  AND EXISTS (SELECT FROM aiki.sessions s WHERE s.id = r.session_id AND s.closed_at IS NOT NULL)
"""
    """Those of the session that is named, with its namespace; none, while it is open."""
    ORPHANS = "NOT EXISTS (SELECT FROM aiki.sessions s WHERE s.id = r.session_id AND s.closed_at IS NULL)"
    """All that belong to no open session: looks at every run that is held."""


# `runs_running`; locks in id order and waits for a record in flight, at most `lock_timeout`. Whatever the lost worker
# still sends is fenced from here on, so its journals stand still, which the next statement goes by.
_FENCE: Final = f"""
WITH lost AS MATERIALIZED (
  SELECT r.id FROM aiki.runs r
  WHERE r.state = '{State.RUNNING}' AND r.claim_id IS NOT NULL AND {{which}}
  ORDER BY r.id LIMIT {TAKEN} FOR NO KEY UPDATE OF r
)
UPDATE aiki.runs r SET claim_id = NULL FROM lost l WHERE r.id = l.id
"""
# A session that was closed before its lease ran out was closed by its worker: no crash. The journal is read by its
# primary key.
_TAKE: Final = f"""
WITH lost AS MATERIALIZED (
  SELECT r.id, r.generation, r.crash_count, r.crash_length, r.session_id, r.wanted FROM aiki.runs r
  WHERE r.state = '{State.RUNNING}' AND r.claim_id IS NULL AND {{which}}
  ORDER BY r.id LIMIT {TAKEN} FOR NO KEY UPDATE OF r
), measured AS MATERIALIZED (
  SELECT l.*, {LENGTH.format("l")} AS length,
    coalesce(s.closed_at < s.expires_at, false) AS is_left, coalesce(s.worker, 'unknown') AS worker
  FROM lost l LEFT JOIN aiki.sessions s ON s.id = l.session_id
), judged AS MATERIALIZED (
  SELECT m.*, CASE WHEN is_left THEN crash_count WHEN length > crash_length THEN 1 ELSE crash_count + 1 END AS crashes
  FROM measured m
), fated AS MATERIALIZED (
  SELECT d.*, CASE WHEN is_left THEN '{Move.RELEASE}' WHEN crashes >= {MOST} THEN '{Move.CRASH_LOOP}'
    WHEN crashes >= {SUSPECT} THEN '{Move.BACK_OFF}' ELSE '{Move.RESCUE}' END AS event
  FROM judged d
), decided AS MATERIALIZED (
  SELECT f.*, f.wanted IS NOT NULL AND f.event <> '{Move.CRASH_LOOP}' AS is_paused FROM fated f
), moved AS (
  UPDATE aiki.runs r SET session_id = NULL, wanted = NULL, crash_count = d.crashes,
    history_seq = r.history_seq + 1 + d.is_paused::int,
    crash_length = CASE WHEN d.is_left THEN r.crash_length ELSE d.length END,
    state = CASE WHEN d.is_paused THEN '{target(Move.PAUSE)}'
      WHEN d.event = '{Move.CRASH_LOOP}' THEN '{target(Move.CRASH_LOOP)}'
      WHEN d.event = '{Move.BACK_OFF}' THEN '{target(Move.BACK_OFF)}'
      WHEN d.event = '{Move.RELEASE}' THEN '{target(Move.RELEASE)}' ELSE '{target(Move.RESCUE)}' END,
    due_at = CASE d.event WHEN '{Move.BACK_OFF}'
      THEN aiki.now() + interval '1 second' * power({BACK_OFF_BASE}, d.crashes - 1) END,
    why = CASE WHEN d.is_paused THEN r.why
      WHEN d.event = '{Move.CRASH_LOOP}' THEN {counting(CRASH_LOOP_WHY, "d.crashes")}
      WHEN d.event = '{Move.BACK_OFF}' THEN {counting(BACK_OFF_WHY, "d.crashes")} END
  FROM decided d WHERE r.id = d.id
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.state, r.due_at, d.event, d.worker, d.length,
    d.is_paused
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, journal_length)
  SELECT id, history_seq - is_paused::int, event,
    CASE event WHEN '{Move.RELEASE}' THEN 'its worker left' ELSE 'worker ' || worker || ' lost its lease' END, length
  FROM moved
  UNION ALL SELECT id, history_seq, '{Move.PAUSE}', NULL, length FROM moved WHERE is_paused
)
SELECT namespace, workflow, version, id::text, event, state, extract(epoch FROM due_at - aiki.now())::float8 FROM moved
"""
_FENCES: Final = {lost: _FENCE.format(which=lost.value) for lost in Lost}
_TAKES: Final = {lost: _TAKE.format(which=lost.value) for lost in Lost}


async def fence(connection: Connection, lost: Lost, *of: str) -> int:
    """Let no worker write to these runs any more, TAKEN at a time; return how many that were news to."""
    return (await connection.execute(_FENCES[lost], of, prepare=True)).rowcount


async def take(connection: Connection, lost: Lost, *of: str) -> list[Rescued]:
    """Queue again, or set aside, those of these runs that are fenced, TAKEN at a time."""
    cursor = await connection.execute(_TAKES[lost], of, prepare=True, binary=True)
    return [
        Rescued(namespace, workflow, version, run_id, Move(move), State(state), due_seconds)
        for namespace, workflow, version, run_id, move, state, due_seconds in await cursor.fetchall()
    ]


# What ended sessions served goes first: whoever looks for one that serves a route must not walk over them for long.
# A worker serves thousands of routes at most, so a statement is done soon.
_FORGET_ROUTES: Final = """
DELETE FROM aiki.session_routes r USING (
  SELECT s.id FROM aiki.sessions s
  WHERE s.closed_at IS NOT NULL AND EXISTS (SELECT FROM aiki.session_routes o WHERE o.session_id = s.id) LIMIT 100
) AS ended WHERE r.session_id = ended.id
"""
_FORGET: Final = """
DELETE FROM aiki.sessions s WHERE s.closed_at < aiki.now() - interval '1 hour'
  AND NOT EXISTS (SELECT FROM aiki.session_routes r WHERE r.session_id = s.id)
"""


async def forget_sessions(connection: Connection) -> None:
    """Delete what ended sessions served, and the rows of those that ended long ago."""
    while (await connection.execute(_FORGET_ROUTES, prepare=True)).rowcount:
        continue
    await connection.execute(_FORGET, prepare=True)
