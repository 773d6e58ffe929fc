"""Write what claims have come to where runs reach each other: sends, arrivals, parks for news, and asked timers.

It is the statement of `record`, and more: what units and sends do to one run is folded into one change of its row,
since Postgres drops a second one in the same statement without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from aiki.core.states import TERMINAL, Move, State, target
from aiki.rules.checking import answer_id
from aiki.rules.judging import STANDSTILLS, wakes_at
from aiki.rules.recording import is_cancelled, is_folded
from aiki.wire.messages import Recorded, Unit
from aikid.store import ends, errands, prepared
from aikid.store.arrays import Array, Ints, Texts, Uuids
from aikid.store.inbox import (
    COMES_AT,
    JUDGED,
    OF_EVENTS,
    OF_OUTCOMES,
    PUT,
    SENDING,
    TOLD,
    WOKEN,
    Reached,
    Row,
    coming,
    send_arrays,
    sending,
)
from aikid.store.listing import CLOSED
from aikid.store.pool import Connection
from aikid.store.record import IS_PAUSED, RESTS, STATES, TOLD_OF, EndedRow, Wrote
from aikid.store.sql import LENGTH, MICROSECONDS, MOVABLE, SINCE, quoted
from aikid.store.status import TASKS
from aikid.store.units import (
    COUNTING,
    ENDING,
    FENCED,
    RUNG,
    TRIED,
    WRITTEN,
    attempt_arrays,
    count_arrays,
    end_arrays,
    entry_arrays,
    fence_arrays,
    timer_arrays,
    tries_of,
)

_UNIT: Final = (*FENCED, *ENDING, "seen", "timer_us", "timer_seen", "wakes_at")
_SENT: Final = (*SENDING, "unit", "answer_id")
_TIME: Final = "'epoch'::timestamptz + {} * interval '1 microsecond'"


def _slots(columns: Sequence[str]) -> str:
    return ", ".join("%b" for _ in columns)


# All rows that it changes are locked first, as one set in id order by their primary key: those of units, and of whom
# they send to. All judging reads that set: another look at `runs` would see them as they were before the locks.
# A unit that takes what its run's inbox does not hold, or what was taken, or that has seen what has not come, does not
# fit: its worker was told by somebody else. What it takes was committed before that was told, so the snapshot has it;
# and what takes it meanwhile writes the journal, too, and is met there. A sub-select that returns a value is looked up
# for each number, by `inbox_pkey`.
_LOCKED: Final = f"""
WITH unit AS MATERIALIZED (
  SELECT * FROM unnest({_slots(_UNIT)}) WITH ORDINALITY AS u({", ".join(_UNIT)}, n)
), {{send}}locked AS MATERIALIZED (
  SELECT r.id, r.namespace, r.state, r.epoch, r.claim_id, r.generation, r.origin_id, r.workflow, r.version,
    r.created_at, r.starts_at, r.started_at, r.news_seq, r.news_at, r.unread, r.waits, r.wake_news, r.wanted,
    r.parent_id, r.parent_generation, r.children, r.retried_by
  FROM aiki.runs r
  WHERE (r.id, r.namespace) IN (
    SELECT u.run_id, u.namespace FROM unit u{{targets}}) AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE
), taken AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b) AS t(run_id, number, seq)
), amiss AS MATERIALIZED (
  SELECT DISTINCT t.run_id AS run FROM taken t WHERE (
    SELECT i.taken_seq IS NULL FROM aiki.inbox i WHERE i.run_id = t.run_id AND i.number = t.number) IS NOT TRUE
), fit AS MATERIALIZED (
  SELECT l.id, l.generation, l.origin_id, l.workflow, l.version, l.created_at, l.starts_at, l.started_at, l.news_seq,
    l.wanted, l.parent_id, l.parent_generation, l.children, u.*
  FROM unit u FULL JOIN locked l ON l.id = u.run_id AND l.namespace = u.namespace
    FULL JOIN amiss a ON a.run = u.run_id
  WHERE coalesce(l.state, '') = '{State.RUNNING}' AND coalesce(l.epoch, -1) = coalesce(u.epoch, -2)
    AND coalesce(l.claim_id, '') = coalesce(u.claim_id, '?')
    AND (u.base IS NULL OR u.base = {LENGTH.format("l")}) AND a.run IS NULL
    AND coalesce(u.seen, u.timer_seen, 0) <= coalesce(l.news_seq, -1)
)
"""
# A timer is judged before what comes in the same statement, which so comes after it; a park is judged after that, and
# does not hold. The clock is read with the row's lock held, since this reads `fit`.
_FIRED: Final = f"""
fired AS MATERIALIZED (
  SELECT f.id, f.generation, f.timer_us, CASE
    WHEN f.news_seq <> f.timer_seen AND (
      SELECT i.at_us > f.timer_us FROM aiki.inbox i WHERE i.run_id = f.id AND i.number = f.timer_seen + 1
    ) IS NOT TRUE THEN 'news'
    WHEN {MICROSECONDS.format("aiki.clock()")} >= f.timer_us THEN 'done' ELSE 'early' END AS fired
  FROM fit f WHERE f.timer_us IS NOT NULL
)
"""
_CONSUMED: Final = """
consumed AS (
  UPDATE aiki.inbox i SET taken_generation = t.generation, taken_seq = t.seq
  FROM (
    SELECT t.*, f.generation FROM taken t FULL JOIN fit f ON f.id = t.run_id
    WHERE coalesce(t.seq, 0) > 0 AND coalesce(f.n, 0) > 0
  ) AS t
  WHERE i.run_id = t.run_id AND i.number = t.number AND i.taken_seq IS NULL
  RETURNING i.run_id, i.kind
), took AS MATERIALIZED (
  SELECT c.run_id, count(*) FILTER (WHERE c.kind = 'event') AS events FROM consumed c GROUP BY c.run_id
)
"""
_CHANGE: Final = f"""
waiting AS MATERIALIZED (
  SELECT w.unit, array_agg(w.word) AS words FROM unnest(%b, %b) AS w(unit, word) GROUP BY w.unit
), rings AS MATERIALIZED (
  SELECT d.id, {_TIME.format("d.timer_us")} AS rings_at FROM fired d WHERE d.fired = 'done'
), change AS MATERIALIZED (
  SELECT l.id, l.waits AS waited, coalesce(c.news, 0) AS news, coalesce(c.events, 0) AS events, c.words,
    coalesce(t.events, 0) AS consumed, g.rings_at,
    {COMES_AT.format("greatest(l.news_at, g.rings_at)")} AS comes_at,
    coalesce({WOKEN.format("l", "c")}, false) AS woken,
    f.event IS NOT NULL AND coalesce(f.seen = l.news_seq + coalesce(c.news, 0), true) AS ends,
    f.n, f.event, {RESTS} AS target, {IS_PAUSED} AS is_paused, f.output, f.error, f.why, f.due_us, f.length, f.wakes_at,
    w.words AS waits{{tells}}
  FROM locked l FULL JOIN fit f ON f.id = l.id FULL JOIN reached c ON c.id = l.id FULL JOIN took t ON t.run_id = l.id
    FULL JOIN rings g ON g.id = l.id FULL JOIN waiting w ON w.unit = f.n{{telling}}
), moved AS (
  UPDATE aiki.runs r SET
    news_seq = r.news_seq + c.news, unread = r.unread + c.events - c.consumed,
    news_at = CASE WHEN c.news > 0 THEN c.comes_at + (c.news - 1) * interval '1 microsecond'
      ELSE greatest(r.news_at, c.rings_at) END,
    state = CASE WHEN c.ends THEN c.target WHEN c.woken THEN '{target(Move.ARRIVE)}' ELSE r.state END,
    waits = CASE WHEN c.ends AND c.is_paused THEN NULL WHEN c.ends THEN c.waits WHEN NOT c.woken THEN r.waits END,
    wake_news = CASE WHEN c.ends THEN c.wakes_at ELSE r.wake_news END,
    why = CASE WHEN c.ends AND NOT c.is_paused THEN c.why WHEN NOT c.woken THEN r.why END,
    wanted = CASE WHEN NOT c.ends THEN r.wanted END,
    output = CASE WHEN c.ends THEN c.output ELSE r.output END,
    error = CASE WHEN c.ends THEN c.error ELSE r.error END,
    due_at = CASE WHEN c.ends THEN {_TIME.format("c.due_us")} ELSE r.due_at END,
    finished_at = CASE WHEN c.ends AND c.target IN ({quoted(TERMINAL)}) THEN aiki.now() ELSE r.finished_at END,
    crash_count = CASE WHEN c.ends AND c.event NOT IN ({quoted(STANDSTILLS)}) THEN 0 ELSE r.crash_count END,
    session_id = CASE WHEN NOT c.ends THEN r.session_id END,
    history_seq = r.history_seq + (c.ends OR c.woken)::int + (c.ends AND c.is_paused)::int
  FROM change c WHERE r.id = c.id AND (c.ends OR c.news > 0 OR c.consumed > 0 OR c.rings_at IS NOT NULL)
  RETURNING r.id, r.history_seq, r.namespace, r.workflow, r.version, r.state, r.created_at, r.session_id, r.news_seq,
    c.news, c.comes_at, c.words, c.waited, c.woken, c.ends, c.event, c.why, c.length, r.children,
    {{untold}} AS parent_id
), ended AS MATERIALIZED (
  SELECT * FROM moved WHERE ends
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, journal_length)
  SELECT id, history_seq - (state = '{State.PAUSED}')::int, event, why, length FROM ended
  UNION ALL SELECT id, history_seq, '{Move.PAUSE}', NULL, length FROM ended WHERE state = '{State.PAUSED}'
), {CLOSED}, {errands.LEFT}
"""
_FOLD: Final = f"""
{_LOCKED}, {WRITTEN}, {TRIED}, {_FIRED}, {RUNG}, {_CONSUMED}, {{coming}}, {_CHANGE} {{put}} {{closing}} {{counting}}
SELECT '{Row.NOW}', {MICROSECONDS.format("aiki.now()")}, NULL::text, NULL::text, NULL::text, NULL::text,
  NULL::boolean, (SELECT count(*) FROM errand) + {{left}}, NULL::bigint, NULL::bigint, NULL::bigint
UNION ALL
SELECT '{Row.UNIT}', f.n, CASE WHEN c.ends THEN c.target END,
  CASE WHEN c.ends AND c.target IN ({TOLD_OF}) THEN f.workflow END,
  CASE WHEN c.ends AND c.target IN ({TOLD_OF}) THEN f.version END, d.fired,
  f.event IS NULL OR c.ends, f.news_seq + c.news, {MICROSECONDS.format("f.started_at")},
  CASE WHEN f.tasks IS NOT NULL THEN {TASKS.format(run_id="f.id", generation="f.generation")} + f.tasks END,
  CASE WHEN c.ends AND c.target IN ({quoted(TERMINAL)}) THEN {MICROSECONDS.format(SINCE.format("f"))} END
FROM fit f FULL JOIN change c ON c.id = f.id FULL JOIN fired d ON d.id = f.id
WHERE coalesce(f.n, 0) > 0 {{told}}
"""
# What units send, and the ends of children, which their parents hear of. Most units do neither: then the statement does
# without, a third of it.
_SENDING: Final = f"""
send AS MATERIALIZED (
  {sending(_SENT)}
), """
# What has been answered is not sent again, though a retry asks for it: its run was told that, and is again.
_JUDGING: Final = f"""
asked AS MATERIALIZED (
  SELECT s.*, f.id AS sender, f.origin_id AS sender_origin_id, l.id, l.state, l.origin_id, l.unread, l.retried_by
  FROM send s FULL JOIN fit f ON f.n = s.unit FULL JOIN locked l ON l.id = s.target AND l.namespace = s.namespace
  WHERE coalesce(s.n, 0) > 0 AND coalesce(f.n, 0) > 0 AND (
    SELECT i.number FROM aiki.inbox i WHERE i.origin_id = f.origin_id AND i.send_id = s.answer_id) IS NULL
), {JUDGED}, """
_NOTHING: Final = """
reached AS (
  SELECT NULL::uuid AS id, 0::bigint AS news, 0::bigint AS events, NULL::text[] AS words WHERE false
)
"""


@cache
def _fold(*, sends: bool, tells: bool, closes: bool, counts: bool) -> str:
    """Return the statement for units of which some send, are children that end, or cancelled, or have to be counted."""
    parts = [*((OF_EVENTS, OF_OUTCOMES) if sends else ()), *((ends.OF_ENDS,) if tells else ())]
    judging = (_JUDGING if sends else "") + (ends.TELLING if tells else "")
    return _FOLD.format(
        send=_SENDING if sends else "",
        targets=(" UNION SELECT s.target, s.namespace FROM send s" if sends else "") + (ends.TARGETS if tells else ""),
        coming=judging + (coming(*parts) if parts else _NOTHING),
        put=f", {PUT}" if parts else "",
        told=TOLD.format(", NULL, NULL, NULL, NULL, NULL") if parts else "",
        closing=errands.CLOSING if closes else "",
        left="(SELECT count(*) FROM closing)" if closes else "0",
        counting=COUNTING if counts else "",
        **(ends.HEARD if tells else ends.UNHEARD),
    )


async def fold(
    connection: Connection, namespaces: Sequence[str], units: Sequence[Unit], counted: Sequence[bool]
) -> Wrote:
    """Write all units whose fence and base hold, as `record` does, and bring what they send to whom they send it.

    Raises ValueError for values that no column can hold.
    """
    counts = count_arrays(units)
    sent = _op_arrays(namespaces, units) if any(unit.ops for unit in units) else []
    cancelled = [n for n, unit in enumerate(units, 1) if is_cancelled(unit)]
    parameters = [
        *(*fence_arrays(namespaces, units), *end_arrays(units, counted), *_asking_arrays(units)),
        *(*sent, *_taking_arrays(units), *entry_arrays(units), *attempt_arrays(tries_of(units))),
        *(*timer_arrays(units), *_waiting_arrays(units), *([Ints(cancelled)] if cancelled else ()), *counts),
    ]
    now = left = 0
    done: dict[int, EndedRow | None] = {}
    recorded: dict[int, Recorded] = {}
    reached = Reached()
    tells = any(unit.end is not None and unit.end.parent for unit in units)
    statement = _fold(sends=bool(sent), tells=tells, closes=bool(cancelled), counts=bool(counts))
    for row in await prepared.rows(connection, statement, parameters):
        if row[0] == Row.NOW:
            now, left = row[1], row[7]
        elif row[0] == Row.UNIT:
            _, n, state, workflow, version, fired, parked, news, started_at, tasks, since = row
            done[n - 1] = None if state is None else (started_at, tasks, STATES[state], workflow, version, since)
            if is_folded(units[n - 1]):
                recorded[n - 1] = Recorded("done", None, fired, parked, news)
        else:
            reached.add(row)
    return Wrote(now, done, recorded, reached, left)


def _asking_arrays(units: Sequence[Unit]) -> list[Array]:
    timers = [unit.timer for unit in units]
    return [
        Ints([unit.end.seen if unit.end else None for unit in units]),
        Ints([timer.due if timer else None for timer in timers]),
        Ints([timer.seen if timer else None for timer in timers]),
        Ints([wakes_at(unit.end) if unit.end else None for unit in units]),
    ]


def _op_arrays(namespaces: Sequence[str], units: Sequence[Unit]) -> list[Array]:
    ops = [(n, op) for n, unit in enumerate(units) for op in unit.ops]
    return [
        *send_arrays([namespaces[n] for n, _ in ops], [op for _, op in ops]),
        Ints([n + 1 for n, _ in ops]),
        Uuids([answer_id(op.id) for _, op in ops]),
    ]


def _taking_arrays(units: Sequence[Unit]) -> list[Array]:
    taken = [
        (unit.fence.run_id, number, seq)
        for unit in units
        for seq, entry in enumerate(unit.entries, unit.base + 1)
        for number in entry.takes
    ]
    return [
        Uuids([run_id for run_id, _, _ in taken]),
        Ints([number for _, number, _ in taken]),
        Ints([seq for _, _, seq in taken]),
    ]


def _waiting_arrays(units: Sequence[Unit]) -> list[Array]:
    waiting = [(n, word) for n, unit in enumerate(units, 1) if unit.end for word in unit.end.waits]
    return [Ints([n for n, _ in waiting]), Texts([word for _, word in waiting])]
