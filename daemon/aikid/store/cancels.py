"""Cancel runs at a person's word: many in one statement. Each is told, or ends here: by force whatever it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import TERMINAL, TOLD, Move, State, sources, target
from aiki.rules.arriving import CANCEL
from aiki.rules.controlling import CUT_SHORT
from aiki.wire.codec import encode
from aiki.wire.messages import CancelNote
from aikid.store import errands
from aikid.store.arrays import Uuids
from aikid.store.deadlines import BOUND, BOUNDED, RESUMED, UNBOUNDED
from aikid.store.inbox import COMES_AT
from aikid.store.listing import CLOSED
from aikid.store.own_retries import EARLY
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS, MOVABLE, SINCE, quoted

_ENDED: Final = f"{MICROSECONDS.format('aiki.now()')}, {MICROSECONDS.format('e.since')}"
# Rows by their primary keys, locked in id order; each is waited for as long as the statement that is changing it takes.
# Whoever has not begun ends here, so that it is never claimed; any other is queued, if it is at rest, whatever it waits
# for. Who was told before hears nothing more: that is a line of its story. The clock is read with the row's lock held,
# as for any arrival.
_RESTING: Final = quoted(sources(Move.ARRIVE) | sources(Move.RESUME) - {State.BLOCKED})
_CANCEL: Final = f"""
WITH held AS MATERIALIZED (
  SELECT r.id, r.state, r.origin_id, r.news_at, r.cancel_seq, r.state = '{State.BLOCKED}' OR (
    r.epoch = 0 AND NOT EXISTS (SELECT FROM aiki.journal j WHERE j.run_id = r.id)) AS is_over
  FROM aiki.runs r
  WHERE r.id = ANY(%(ids)b) AND r.namespace = %(namespace)s AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE OF r
), ended AS (
  UPDATE aiki.runs r SET state = '{target(Move.CANCEL)}', finished_at = aiki.now(), why = %(words)s, due_at = NULL,
    waits = NULL, wanted = NULL, claim_id = NULL, history_seq = r.history_seq + 1
  FROM held h WHERE r.id = h.id AND h.is_over AND h.state IN ({quoted(sources(Move.CANCEL))})
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.state, r.created_at, r.parent_id, r.children,
    {SINCE.format("r")} AS since
), reached AS (
  UPDATE aiki.runs r SET cancel_seq = r.news_seq + 1, news_seq = r.news_seq + 1,
    news_at = {COMES_AT.format("h.news_at")}, wanted = NULL, why = NULL,
    state = CASE WHEN h.state IN ({_RESTING}) THEN '{State.QUEUED}' ELSE r.state END,
    waits = CASE WHEN h.state NOT IN ({_RESTING}) THEN r.waits END, history_seq = r.history_seq + 1
  FROM held h WHERE r.id = h.id AND NOT h.is_over AND h.cancel_seq IS NULL AND h.state NOT IN ({quoted(TERMINAL)})
  RETURNING r.id, r.history_seq, r.origin_id, r.workflow, r.version, r.state, r.session_id, r.news_seq, r.news_at,
    h.state AS before, {LENGTH.format("r")} AS length
), noted AS (
  UPDATE aiki.runs r SET history_seq = r.history_seq + 1
  FROM held h WHERE r.id = h.id AND NOT h.is_over AND h.cancel_seq IS NOT NULL AND h.state NOT IN ({quoted(TERMINAL)})
  RETURNING r.id, r.history_seq, {LENGTH.format("r")} AS length
), freed AS (
  SELECT t.id FROM reached t WHERE t.before = '{State.PAUSED}' AND {UNBOUNDED.format("t")}
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor, journal_length)
  SELECT id, history_seq, '{Move.CANCEL}', %(words)s, %(actor)s, NULL FROM ended
  UNION ALL
  SELECT id, history_seq, CASE WHEN before IN ({quoted(sources(Move.ARRIVE))}) THEN '{Move.ARRIVE}'
    WHEN before IN ({_RESTING}) THEN '{Move.RESUME}' ELSE '{TOLD}' END, %(words)s, %(actor)s, length FROM reached
  UNION ALL
  SELECT id, history_seq, '{TOLD}', %(words)s, %(actor)s, length FROM noted
), put AS (
  INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value)
  SELECT id, news_seq, origin_id, {MICROSECONDS.format("news_at")}, '{CANCEL}', '', %(note)b FROM reached
), {RESUMED}, {BOUNDED}, {CLOSED}, {errands.LEFT}, {EARLY.format("reached")}
SELECT h.id::text, h.state, coalesce(e.state, t.state), coalesce(e.workflow, t.workflow),
  coalesce(e.version, t.version), t.session_id::text, t.news_seq, {BOUND}, {_ENDED}
FROM held h LEFT JOIN ended e ON e.id = h.id LEFT JOIN reached t ON t.id = h.id
"""
# Without a fence, which fences whoever runs it: no claim of it is running any more. Its worker is told by a number that
# nothing has.
_FORCE: Final = f"""
WITH held AS MATERIALIZED (
  SELECT r.id, r.state, r.session_id, r.news_seq FROM aiki.runs r
  WHERE r.id = ANY(%(ids)b) AND r.namespace = %(namespace)s AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE OF r
), ended AS (
  UPDATE aiki.runs r SET state = '{target(Move.CANCEL)}', finished_at = aiki.now(), due_at = NULL, waits = NULL,
    wanted = NULL, claim_id = NULL, session_id = NULL, history_seq = r.history_seq + 1,
    why = CASE WHEN r.epoch = 0 THEN %(words)s ELSE %(forced)s END
  FROM held h WHERE r.id = h.id AND h.state IN ({quoted(sources(Move.CANCEL))})
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.state, r.created_at, r.why,
    r.parent_id, r.children, {LENGTH.format("r")} AS length, {SINCE.format("r")} AS since
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor, journal_length)
  SELECT id, history_seq, '{Move.CANCEL}', why, %(actor)s, length FROM ended
), {CLOSED}, {errands.LEFT}
SELECT h.id::text, h.state, e.state, e.workflow, e.version, h.session_id::text, h.news_seq + 1, NULL::float8,
  {_ENDED}
FROM held h LEFT JOIN ended e ON e.id = h.id
"""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A run that was to be cancelled: its state before, and since, if it was told or ended now.

    Of one that was told or ended: its workflow and version; and of whoever holds it, or held it until now, whom to tell
    of which number.
    """

    before: State
    state: State | None
    workflow: str
    version: str
    session: str | None
    news: int
    bound_seconds: float | None
    """In how many seconds the first of all that were told ends, if it has not by itself."""
    now: int
    """The database's clock."""
    since: int | None
    """Since when it was under way, if it has ended now."""


async def cancel(
    connection: Connection, namespace: str, ids: Sequence[str], note: CancelNote, *, force: bool
) -> dict[str, Cancelled]:
    """End the runs that have not begun, and have all others told, or by force end them, too; return those there are."""
    parameters = {"ids": Uuids(ids), "namespace": namespace, "actor": note.actor, "words": note.words()}
    if force:
        parameters["forced"] = CUT_SHORT.format(note.words())
    else:
        parameters["note"] = encode(note)
    cursor = await connection.execute(_FORCE if force else _CANCEL, parameters, prepare=True, binary=True)
    return {
        run_id: Cancelled(State(before), state and State(state), *rest)
        for run_id, before, state, *rest in await cursor.fetchall()
    }
