"""Write and keep the deadlines of runs, each in a row beside its run: who has none does not pay for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.errors import RunTimedOut
from aiki.core.states import TERMINAL, TOLD, Move, State, sources, target
from aiki.rules import deadlines as rules
from aiki.rules.deadlines import GRACE_SECONDS, Step
from aiki.wire.messages import NewRun
from aikid.store import errands
from aikid.store.arrays import Array, Ints, Uuids
from aikid.store.listing import CLOSED
from aikid.store.own_retries import EARLY
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS, SINCE, counting, quoted

# -- writing: parts of the statements that enqueue and resume runs

SET: Final = """
, deadlined AS (
  INSERT INTO aiki.deadlines (run_id, at, grace, look_at, timeout)
  SELECT t.id, t.starts_at + t.timeout, t.grace, t.starts_at + t.timeout, t.timeout FROM (
    SELECT m.id, coalesce(m.due_at, aiki.now()) AS starts_at, d.timeout_us * interval '1 microsecond' AS timeout,
      d.grace_us * interval '1 microsecond' AS grace
    FROM unnest(%b, %b, %b) AS d(run_id, timeout_us, grace_us) JOIN made m ON m.id = d.run_id
  ) AS t RETURNING look_at
)
"""
"""A common table expression beside `made`, which returns the id and date of each run that is new."""
EARLIEST: Final = ", (SELECT min(look_at) FROM deadlined)"
_GRACE: Final = f"coalesce(d.grace, interval '{GRACE_SECONDS} seconds')"
# Not by what the row says: the waker may have written that after this statement's snapshot, and before its lock. But
# one without a date, of which nobody has been told, only says how long a cancel will leave: none has come.
RESUMED: Final = f"""
awaited AS (
  UPDATE aiki.deadlines d SET look_at = coalesce(
    d.look_at, aiki.now() + CASE WHEN d.told_seq IS NULL THEN interval '0' ELSE {_GRACE} END)
  FROM freed WHERE d.run_id = freed.id AND (d.at IS NOT NULL OR d.told_seq IS NOT NULL)
)
"""
"""A common table expression beside `freed`, which returns the ids of runs that go on: what waited for that."""
BOUNDED: Final = """
bounded AS (
  UPDATE aiki.deadlines d SET at = NULL, told_seq = t.news_seq, look_at = aiki.now() + d.grace
  FROM reached t WHERE d.run_id = t.id AND d.grace IS NOT NULL RETURNING d.look_at
)
"""
"""A common table expression beside `reached`, which returns the runs that are told of a cancel: by when they end."""
UNBOUNDED: Final = "NOT EXISTS (SELECT FROM aiki.deadlines d WHERE d.run_id = {}.id AND d.grace IS NOT NULL)"
BOUND: Final = "(SELECT extract(epoch FROM min(look_at) - aiki.now())::float8 FROM bounded)"


def arrays(runs: Sequence[NewRun]) -> list[Array]:
    """Return the parameters of SET: none if no run has a timeout, of whichever kind."""
    timed = [run for run in runs if run.options.timeout is not None or run.options.cancel_timeout is not None]
    if not timed:
        return []
    return [
        Uuids([run.id for run in timed]),
        Ints([run.options.timeout for run in timed]),
        Ints([run.options.cancel_timeout for run in timed]),
    ]


# -- keeping


@dataclass(frozen=True, slots=True)
class Passed:
    """A run whose deadline or grace has passed, what that did to it, and how it stands now."""

    namespace: str
    workflow: str
    version: str
    id: str
    step: Step
    state: State
    session: str | None
    """Of the worker that holds it, or held it until now."""
    news: int
    """The number to tell that worker by: of the arrival, or one beyond all if there is none."""
    now: int
    """The database's clock."""
    since: int
    """Since when it was under way."""


_PARKED: Final = quoted(sources(Move.DUE))
_ENDED: Final = f"CASE j.step WHEN '{Step.CUT}' THEN '{target(Move.CANCEL)}' ELSE '{target(Move.TIME_OUT)}' END"
_AT: Final = """to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
# `deadlines_look` from the left, then primary keys. SKIP LOCKED on both rows: several daemons share the work, a record
# in flight is left to the next look, and nobody waits, so no order of locks can matter. What a lock brings is the
# newest version of the row; the inbox alone is read as it was before: a run that takes its word in this very moment,
# at the end of its grace, is too late. Sub-selects that return a value are looked up for each row: an EXISTS might be
# turned into one look at the whole table, and a join of empty tables into one that begins with the runs.
PASS: Final = f"""
WITH passed AS MATERIALIZED (
  SELECT d.run_id, d.told_seq, d.grace, {_AT} AS at FROM aiki.deadlines d
  WHERE d.look_at <= aiki.now() ORDER BY d.look_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
  SELECT r.*, p.told_seq, p.grace, p.at FROM passed p CROSS JOIN LATERAL (
    SELECT r.id, r.namespace, r.workflow, r.version, r.state, r.session_id, r.news_seq, r.cancel_seq,
      {SINCE.format("r")} AS since, r.epoch > 0 OR {LENGTH.format("r")} > 0 AS has_begun
    FROM aiki.runs r WHERE r.id = p.run_id FOR NO KEY UPDATE SKIP LOCKED
  ) AS r
), judged AS MATERIALIZED (
  SELECT d.*, CASE
    WHEN d.state IN ({quoted(TERMINAL)}) THEN '{Step.LEAVE}'
    WHEN d.state = '{State.PAUSED}' THEN '{Step.HOLD}'
    WHEN d.at IS NULL THEN '{Step.CUT}'
    WHEN d.state = '{State.BLOCKED}' THEN '{Step.END}'
    WHEN d.told_seq IS NULL THEN
      CASE WHEN NOT d.has_begun THEN '{Step.END}' WHEN d.cancel_seq IS NULL THEN '{Step.TELL}' ELSE '{Step.NOTE}' END
    WHEN (d.grace IS NULL OR d.told_seq <> d.cancel_seq) AND (SELECT i.taken_seq FROM aiki.inbox i
      WHERE i.run_id = d.id AND i.number = d.cancel_seq) IS NOT NULL THEN '{Step.LEAVE}'
    ELSE '{Step.END}' END AS step,
    CASE WHEN d.at IS NULL THEN '{rules.UNDONE}' WHEN d.state = '{State.BLOCKED}' THEN {counting(rules.BLOCKED, "d.at")}
      WHEN d.has_begun THEN {counting(rules.CUT_OFF, "d.at")} ELSE {counting(rules.UNBEGUN, "d.at")} END AS words
  FROM due d
), ended AS (
  UPDATE aiki.runs r SET state = {_ENDED}, finished_at = aiki.now(), due_at = NULL,
    why = CASE j.step WHEN '{Step.CUT}' THEN j.words END,
    waits = NULL, claim_id = NULL, session_id = NULL, history_seq = r.history_seq + 1, error = CASE j.step
      WHEN '{Step.END}' THEN convert_to(
        json_build_object('type', '{RunTimedOut.__name__}', 'message', j.words)::text, 'UTF8') END
  FROM judged j WHERE r.id = j.id AND j.step IN ('{Step.END}', '{Step.CUT}')
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.state, r.created_at, j.words,
    r.parent_id, r.children, {LENGTH.format("r")} AS length
), told AS (
  UPDATE aiki.runs r SET news_seq = r.news_seq + 1, cancel_seq = r.news_seq + 1,
    news_at = greatest(aiki.clock(), r.news_at + interval '1 microsecond'),
    state = CASE WHEN r.state IN ({_PARKED}) THEN '{target(Move.DUE)}' ELSE r.state END,
    why = CASE WHEN r.state NOT IN ({_PARKED}) THEN r.why END,
    waits = CASE WHEN r.state NOT IN ({_PARKED}) THEN r.waits END,
    history_seq = r.history_seq + 1
  FROM judged j WHERE r.id = j.id AND j.step = '{Step.TELL}'
  RETURNING r.id, r.history_seq, r.origin_id, r.state, r.news_seq, r.news_at,
    j.state IN ({_PARKED}) AS is_woken, j.at, {LENGTH.format("r")} AS length
), noted AS (
  UPDATE aiki.runs r SET history_seq = r.history_seq + 1
  FROM judged j WHERE r.id = j.id AND j.step = '{Step.NOTE}'
  RETURNING r.id, r.history_seq, j.at, {LENGTH.format("r")} AS length
), moved AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, journal_length)
  SELECT e.id, e.history_seq, CASE e.state WHEN '{target(Move.CANCEL)}' THEN '{Move.CANCEL}' ELSE '{Move.TIME_OUT}' END,
    e.words, e.length FROM ended e
  UNION ALL
  SELECT t.id, t.history_seq, CASE WHEN t.is_woken THEN '{Move.DUE}' ELSE '{TOLD}' END,
    {counting(rules.TOLD, "t.at")}, t.length FROM told t
  UNION ALL
  SELECT n.id, n.history_seq, '{TOLD}', {counting(rules.TOLD_BEFORE, "n.at")}, n.length FROM noted n
), arrived AS (
  INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value)
  SELECT t.id, t.news_seq, t.origin_id, {MICROSECONDS.format("t.news_at")}, 'cancel', '',
    convert_to('{{"reason":"timeout"}}', 'UTF8') FROM told t
), looked AS (
  UPDATE aiki.deadlines d SET
    told_seq = CASE j.step WHEN '{Step.TELL}' THEN j.news_seq + 1 WHEN '{Step.NOTE}' THEN 0 ELSE d.told_seq END,
    look_at = CASE WHEN j.step IN ('{Step.TELL}', '{Step.NOTE}') THEN aiki.now() + {_GRACE} END
  FROM judged j WHERE d.run_id = j.id
), {CLOSED}, {errands.LEFT}, {EARLY.format("told")}
SELECT j.namespace, j.workflow, j.version, j.id::text, j.step, CASE
    WHEN j.step IN ('{Step.END}', '{Step.CUT}') THEN {_ENDED}
    WHEN j.step = '{Step.TELL}' AND j.state IN ({_PARKED}) THEN '{target(Move.DUE)}' ELSE j.state END,
  j.session_id::text, j.news_seq + 1, {MICROSECONDS.format("aiki.now()")}, {MICROSECONDS.format("j.since")}
FROM judged j
"""


async def pass_due(connection: Connection, *, limit: int) -> list[Passed]:
    """Let at most `limit` deadlines that have passed do what they do; return their runs."""
    cursor = await connection.execute(PASS, (limit,), prepare=True, binary=True)
    return [
        Passed(namespace, workflow, version, run_id, Step(step), State(state), *rest)
        for namespace, workflow, version, run_id, step, state, *rest in await cursor.fetchall()
    ]
