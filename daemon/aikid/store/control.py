"""Hold runs, let them go on and wake them at a person's word: many in one statement, each as its state allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import Move, State, sources, target
from aiki.rules.controlling import WAKE
from aiki.rules.standing import PAUSE
from aiki.wire.limits import UNREAD_WAKES
from aikid.store.arrays import Uuids
from aikid.store.deadlines import RESUMED
from aikid.store.inbox import COMES_AT
from aikid.store.own_retries import EARLY
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, MOVABLE, quoted

# Rows by their primary keys, locked in id order; each is waited for as long as the statement that is changing it takes.
_HELD: Final = f"""
WITH held AS MATERIALIZED (
  SELECT r.id, r.state, r.wanted, r.epoch, r.due_at FROM aiki.runs r
  WHERE r.id = ANY(%(ids)b) AND r.namespace = %(namespace)s AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE OF r
)"""
# A running run is told by a number, as of an arrival, so that no park overlooks it.
_PAUSE: Final = f"""
{_HELD}, moved AS (
  UPDATE aiki.runs r SET state = '{target(Move.PAUSE)}', why = %(why)s, waits = NULL,
    history_seq = r.history_seq + 1
  FROM held h WHERE r.id = h.id AND h.state IN ({quoted(sources(Move.PAUSE))})
  RETURNING r.id, r.history_seq
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor, reason)
  SELECT id, history_seq, '{Move.PAUSE}', %(actor)s, %(reason)s FROM moved
), asked AS (
  UPDATE aiki.runs r SET wanted = '{PAUSE}', why = %(why)s, news_seq = r.news_seq + 1
  FROM held h WHERE r.id = h.id AND h.state = '{State.RUNNING}' AND h.wanted IS NULL
  RETURNING r.id, r.session_id::text, r.news_seq
)
SELECT h.id::text, h.state, h.wanted IS NOT NULL, a.session_id, a.news_seq FROM held h LEFT JOIN asked a ON a.id = h.id
"""
_RESUME: Final = f"""
{_HELD}, freed AS (
  UPDATE aiki.runs r SET state = CASE WHEN later.due_at IS NULL THEN '{target(Move.RESUME)}'
      ELSE '{target(Move.DEFER)}' END,
    due_at = later.due_at, why = NULL, waits = NULL, claim_id = NULL, crash_count = 0, finished_at = NULL,
    history_seq = r.history_seq + 1 + (later.due_at IS NOT NULL)::int
  FROM held h CROSS JOIN LATERAL (
    SELECT CASE WHEN h.epoch = 0 AND h.due_at > aiki.now() THEN h.due_at END AS due_at
  ) AS later
  WHERE r.id = h.id AND h.state IN ({quoted(sources(Move.RESUME))})
  RETURNING r.id, r.history_seq, r.workflow, r.version, r.state, r.due_at
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor)
  SELECT id, history_seq - (due_at IS NOT NULL)::int, '{Move.RESUME}', %(actor)s FROM freed
  UNION ALL SELECT id, history_seq, '{Move.DEFER}', NULL FROM freed WHERE due_at IS NOT NULL
), kept AS (
  UPDATE aiki.runs r SET wanted = NULL, why = NULL
  FROM held h WHERE r.id = h.id AND h.state = '{State.RUNNING}' AND h.wanted IS NOT NULL
), {RESUMED}, {EARLY.format("freed")}
SELECT h.id::text, h.state, h.wanted IS NOT NULL, f.state, f.workflow, f.version,
  extract(epoch FROM f.due_at - aiki.now())::float8
FROM held h LEFT JOIN freed f ON f.id = h.id
"""

# `inbox_sent`.
_IS_REPEAT: Final = """
((SELECT i.number FROM aiki.inbox i WHERE i.origin_id = h.origin_id AND i.send_id = %(order)s) IS NOT NULL)
""".strip()
# The clock is read with the row's lock held, as for any arrival. Whether it is a repeat is read as it was before that:
# of two at once the later meets a duplicate key, and is done again whole. What a running run has not read yet is
# counted by `inbox_unread`, so that whoever wakes it again and again fills neither its inbox nor its worker.
_WAKE: Final = f"""
WITH held AS MATERIALIZED (
  SELECT r.id, r.state, r.epoch, r.waits, r.origin_id, r.news_at FROM aiki.runs r
  WHERE r.id = ANY(%(ids)b) AND r.namespace = %(namespace)s AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE OF r
), woken AS MATERIALIZED (
  SELECT h.id, h.origin_id, {COMES_AT.format("h.news_at")} AS comes_at,
    h.state <> '{State.SCHEDULED}' AS is_told, h.state <> '{State.RUNNING}' AS is_moved
  FROM held h WHERE (h.state = '{State.RUNNING}' OR h.state IN ({quoted(sources(Move.WAKE))}))
    AND (h.state <> '{State.WAITING}' OR '{WAKE}' = ANY(h.waits))
    AND NOT {_IS_REPEAT}
    AND (h.state <> '{State.RUNNING}' OR {UNREAD_WAKES} > (
      SELECT count(*) FROM aiki.inbox i WHERE i.run_id = h.id AND i.taken_seq IS NULL AND i.kind = '{WAKE}'))
), moved AS (
  UPDATE aiki.runs r SET state = CASE WHEN w.is_moved THEN '{target(Move.WAKE)}' ELSE r.state END,
    waits = CASE WHEN NOT w.is_moved THEN r.waits END, why = CASE WHEN NOT w.is_moved THEN r.why END,
    news_seq = r.news_seq + w.is_told::int, news_at = CASE WHEN w.is_told THEN w.comes_at ELSE r.news_at END,
    history_seq = r.history_seq + w.is_moved::int
  FROM woken w WHERE r.id = w.id
  RETURNING r.id, r.history_seq, r.workflow, r.version, r.session_id, r.news_seq, r.state,
    w.origin_id, w.comes_at, w.is_told, w.is_moved
), put AS (
  INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, send_id, value)
  SELECT id, news_seq, origin_id, {MICROSECONDS.format("comes_at")}, '{WAKE}', '', %(order)s, 'null'
  FROM moved WHERE is_told
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor)
  SELECT id, history_seq, '{Move.WAKE}', %(actor)s FROM moved WHERE is_moved
)
SELECT h.id::text, h.state, h.epoch, h.state = '{State.QUEUED}' AND {_IS_REPEAT}, h.waits,
  m.state, m.workflow, m.version, m.session_id::text, m.news_seq
FROM held h LEFT JOIN moved m ON m.id = h.id
"""


@dataclass(frozen=True, slots=True)
class Paused:
    """A run that was to be paused: its state before, and whether that was wanted of it already.

    Of one that is asked to now: the session that holds it, and the number to tell it by.
    """

    before: State
    was_wanted: bool
    session: str | None
    news: int | None


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that was to go on: its state before, and whether it was to be paused.

    If it was moved, how it stands since, its workflow and version, and in how many seconds it is due.
    """

    before: State
    was_wanted: bool
    state: State | None
    workflow: str
    version: str
    due_seconds: float | None


async def pause(
    connection: Connection, namespace: str, ids: Sequence[str], *, actor: str | None, reason: str | None, why: str
) -> dict[str, Paused]:
    """Pause the runs that are at rest, and have those that run be told; return those that there are, by id."""
    parameters = {"ids": Uuids(ids), "namespace": namespace, "actor": actor, "reason": reason, "why": why}
    cursor = await connection.execute(_PAUSE, parameters, prepare=True, binary=True)
    return {
        run_id: Paused(State(before), was_wanted, session, news)
        for run_id, before, was_wanted, session, news in await cursor.fetchall()
    }


async def resume(
    connection: Connection, namespace: str, ids: Sequence[str], *, actor: str | None
) -> dict[str, Resumed]:
    """Let the runs go on that are held or retry; return those that there are, by id."""
    parameters = {"ids": Uuids(ids), "namespace": namespace, "actor": actor}
    cursor = await connection.execute(_RESUME, parameters, prepare=True, binary=True)
    return {
        run_id: Resumed(State(before), was_wanted, state and State(state), workflow, version, due_seconds)
        for run_id, before, was_wanted, state, workflow, version, due_seconds in await cursor.fetchall()
    }


@dataclass(frozen=True, slots=True)
class Woken:
    """A run that was to wake: its state before, how often it had been claimed, and what it waited for.

    `was_woken` tells of a queued one that this very order did that before. If it is woken now, how it stands since, its
    workflow and version, and if a worker holds it, whom to tell of which number.
    """

    before: State
    epoch: int
    was_woken: bool
    waits: frozenset[str]
    state: State | None
    workflow: str
    version: str
    session: str | None
    news: int


async def wake(
    connection: Connection, namespace: str, ids: Sequence[str], *, order: str, actor: str | None
) -> dict[str, Woken]:
    """Queue the runs that sleep, and have those that run be told; return those that there are, by id."""
    parameters = {"ids": Uuids(ids), "namespace": namespace, "order": order, "actor": actor}
    cursor = await connection.execute(_WAKE, parameters, prepare=True, binary=True)
    return {
        run_id: Woken(State(before), epoch, was_woken, frozenset(waits or ()), state and State(state), *rest)
        for run_id, before, epoch, was_woken, waits, state, *rest in await cursor.fetchall()
    }
