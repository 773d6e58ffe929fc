"""Bring to runs what reaches them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from aiki.core.states import TERMINAL, Move, State, sources, target
from aiki.rules.arriving import CHILD, EVENT, OP
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import Arrival, Outcome, SendOp, Sent
from aikid.store import prepared
from aikid.store.arrays import Array, Blobs, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, MOVABLE, quoted

# -- what an arrival does: common table expressions

# Full joins are hashed however the sizes are guessed, and each is of rows of which the other side has all; what is not
# is said in words that the planner does not see through. (Else it would compare each of a thousand with each.)

SENDING: Final = ("namespace", "target", "send_id", "name", "key", "digest", "value")
"""The columns of `send_arrays`."""
# Primary keys. Few runs were ever retried: the second of them is one of a small table.
NEWEST: Final = """
coalesce((SELECT retry.run_id FROM aiki.runs was JOIN aiki.origins retry ON retry.origin_id = was.origin_id
  WHERE was.id = {0}), {0})
""".strip()
"""The run that goes on in the place of the one with this id: the newest retry of its origin, or itself."""
JUDGED: Final = f"""
met AS MATERIALIZED (
  SELECT a.*, CASE
    WHEN a.id IS NULL THEN 'unknown'
    WHEN (SELECT i.number FROM aiki.inbox i WHERE i.origin_id = a.origin_id AND i.send_id = a.send_id) IS NOT NULL
      THEN 'repeated'
    WHEN h.number IS NOT NULL THEN CASE WHEN h.digest = a.digest THEN 'repeated' ELSE 'conflict' END
    WHEN a.retried_by IS NOT NULL AND aiki.again() THEN NULL
    WHEN a.state IN ({quoted(TERMINAL)}) THEN 'ended'
    WHEN EXISTS (SELECT FROM aiki.runs r
        JOIN aiki.routes t ON (t.namespace, t.workflow, t.version) = (r.namespace, r.workflow, r.version)
      WHERE r.id = a.id AND a.name <> ALL (t.event_names)) THEN 'refused' END AS met
  FROM asked a LEFT JOIN aiki.inbox h ON h.origin_id = a.origin_id AND h.name = a.name AND h.key = a.key
), matched AS MATERIALIZED (
  SELECT m.*, least(min(m.n) OVER (PARTITION BY m.met, m.origin_id, m.send_id),
    CASE WHEN m.key IS NOT NULL THEN min(m.n) OVER (PARTITION BY m.met, m.origin_id, m.name, m.key) END) AS first
  FROM met m
), placed AS MATERIALIZED (
  SELECT m.*, row_number() OVER (PARTITION BY m.met, m.first = m.n, m.id ORDER BY m.n) AS place FROM matched m
), judged AS MATERIALIZED (
  SELECT p.*, coalesce(p.met, CASE
    WHEN first_value(p.unread + p.place) OVER same > {UNREAD_EVENTS} THEN 'full'
    WHEN first_value(p.n) OVER same = p.n THEN 'taken'
    WHEN first_value(p.send_id) OVER same = p.send_id OR first_value(p.digest) OVER same = p.digest THEN 'repeated'
    ELSE 'conflict' END) AS result
  FROM placed p WINDOW same AS (PARTITION BY p.met, p.first ORDER BY p.n)
)
"""
"""What becomes of each event in `asked`, which gives its number `n`, the columns of `send_arrays`, and `id`, `state`,
`origin_id`, `unread` and `retried_by` of the locked run that it is sent to, null if there is none. One that was retried
since this statement looked for the newest is not that: it looks again.

The inbox is read by its unique indexes (what returns a value is looked up for each; an EXISTS was made a hash of the
whole table, by a plan of when that was empty), as it was before the locks: what has come there since meets a duplicate
key, and the statement is undone whole and repeated. Of two events in one statement that are the same the first is
taken.
"""
OF_EVENTS: Final = f"""
SELECT j.id, j.n, 0, '{EVENT}', j.name, j.send_id, j.key, j.digest, j.value, j.origin_id, '{EVENT}:' || j.name
FROM judged j WHERE j.result = 'taken'
"""
OF_OUTCOMES: Final = f"""
SELECT j.sender, j.n, 1, '{OP}', j.send_id::text, j.answer_id, NULL, NULL,
  convert_to(CASE j.result WHEN 'ended' THEN json_build_object('result', j.result, 'state', j.state)
    ELSE json_build_object('result', j.result) END::text, 'UTF8'), j.sender_origin_id, '{OP}'
FROM judged j
"""
_COMING: Final = """
numbered AS MATERIALIZED (
  SELECT c.*, row_number() OVER (PARTITION BY c.id ORDER BY c.part / 2, c.n, c.part) AS place FROM ({coming})
    AS c(id, n, part, kind, name, send_id, key, digest, value, origin_id, word)
), reached AS MATERIALIZED (
  SELECT n.id, count(*) AS news, count(*) FILTER (WHERE n.kind = 'event') AS events,
    array_agg(n.word ORDER BY n.place) AS words
  FROM numbered n GROUP BY n.id
)
"""


def coming(*parts: str) -> str:
    """Return what reaches runs: the rows of all `parts`, numbered for each run, and folded to a row for each.

    A second change of one row in one statement is dropped without a word. Parts are OF_EVENTS, those of `judged`, and
    OF_OUTCOMES, which reach their senders; and others of the same columns, whose `part` says what comes last.
    """
    return _COMING.format(coming=" UNION ALL ".join(parts))


COMES_AT: Final = "greatest(aiki.clock(), {} + interval '1 microsecond')"
"""The time of a run's next arrival, after that of the last. The clock must be read under the row's lock: else an
arrival that waited for the row would be older than what was decided meanwhile."""
WOKEN: Final = f"""
{{0}}.state IN ({quoted(sources(Move.ARRIVE))}) AND {{0}}.waits && CASE
  WHEN {{0}}.news_seq + {{1}}.news < {{0}}.wake_news THEN array_remove({{1}}.words, '{CHILD}') ELSE {{1}}.words END
""".strip()
"""Whether a run is queued by what has `reached` it: ends of children count once there may be as many as it wants."""
PUT: Final = f"""
put AS (
  INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, send_id, key, digest, value)
  SELECT n.id, m.news_seq - m.news + n.place, n.origin_id, {MICROSECONDS.format("m.comes_at")} + n.place - 1,
    n.kind, n.name, n.send_id, n.key, n.digest, n.value
  FROM numbered n FULL JOIN moved m ON m.id = n.id WHERE coalesce(n.place, 0) > 0
), arrived AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason)
  SELECT m.id, m.history_seq, '{Move.ARRIVE}', (SELECT w FROM unnest(m.words) AS w WHERE w = ANY(m.waited) LIMIT 1)
  FROM moved m WHERE m.woken
)
"""
"""The arrivals of `numbered`, and the story of whom they wake. `moved` returns each changed run with what `reached` it:
the number of its last arrival, how many there are now, the time of the first, and what it waited for."""
REACHING: Final = f"""
change AS MATERIALIZED (
  SELECT l.id, l.waits AS waited, c.news, c.events, c.words, {COMES_AT.format("l.news_at")} AS comes_at,
    coalesce({WOKEN.format("l", "c")}, false) AS woken
  FROM reached c FULL JOIN locked l ON l.id = c.id WHERE coalesce(c.news, 0) > 0
), moved AS (
  UPDATE aiki.runs r SET news_seq = r.news_seq + c.news, unread = r.unread + c.events,
    news_at = c.comes_at + (c.news - 1) * interval '1 microsecond',
    state = CASE WHEN c.woken THEN '{target(Move.ARRIVE)}' ELSE r.state END,
    waits = CASE WHEN NOT c.woken THEN r.waits END, why = CASE WHEN NOT c.woken THEN r.why END,
    history_seq = r.history_seq + c.woken::int
  FROM change c WHERE r.id = c.id
  RETURNING r.id, r.namespace, r.workflow, r.version, r.state, r.session_id, r.news_seq, r.history_seq,
    c.news, c.comes_at, c.words, c.waited, c.woken
), {PUT}
"""
"""Brings what has `reached` runs to them; `locked` has what WOKEN looks at, and `news_at`."""


def sending(columns: Sequence[str]) -> str:
    """Return the select of what is sent, given as arrays: each with the run that it is for, and the one `said`."""
    slots = ", ".join("%b" for _ in columns)
    rest = ", ".join(f"s.{column}" for column in columns if column != "target")
    return f"""
  SELECT {rest}, s.n, s.target AS said, {NEWEST.format("s.target")} AS target
  FROM unnest({slots}) WITH ORDINALITY AS s({", ".join(columns)}, n)"""


class Row(StrEnum):
    """What a row is of that one of these statements returns."""

    NOW = "now"
    UNIT = "unit"
    EVENT = "event"
    QUEUED = "queued"
    HELD = "held"


TOLD: Final = f"""
UNION ALL
SELECT '{Row.QUEUED}', NULL, m.namespace, m.workflow, m.version, m.id::text {{0}} FROM moved m WHERE m.woken
UNION ALL
SELECT '{Row.HELD}', m.news_seq, m.namespace, m.session_id::text, NULL, m.id::text {{0}} FROM moved m
WHERE m.news > 0 AND m.state = '{State.RUNNING}'
"""
"""Rows of whom arrivals have reached: runs that are queued, with their routes, and those that are held, with sessions.
"""

# -- events from outside

# Runs are locked in id order by their primary key; ended ones, too, since whether they have is read there.
_SEND: Final = f"""
WITH send AS MATERIALIZED (
  {sending(SENDING)}
), locked AS MATERIALIZED (
  SELECT r.id, r.namespace, r.state, r.origin_id, r.unread, r.news_seq, r.news_at, r.waits, r.wake_news, r.retried_by
  FROM aiki.runs r
  WHERE (r.id, r.namespace) IN (SELECT s.target, s.namespace FROM send s) AND {MOVABLE}
  ORDER BY r.id FOR NO KEY UPDATE
), asked AS MATERIALIZED (
  SELECT s.*, l.id, l.state, l.origin_id, l.unread, l.retried_by
  FROM send s FULL JOIN locked l ON l.id = s.target AND l.namespace = s.namespace
), {JUDGED}, {coming(OF_EVENTS)}, {REACHING}
SELECT '{Row.EVENT}', j.n, j.result, j.state, nullif(j.target, j.said)::text, NULL::text, NULL::bigint
FROM judged j {TOLD.format(", " + MICROSECONDS.format("m.comes_at"))}
"""


@dataclass(slots=True)
class Reached:
    """Whom arrivals have reached: runs that are queued now, and those that a worker holds."""

    queued: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Namespace, workflow, version and id."""
    held: list[tuple[str, str, str, int]] = field(default_factory=list)
    """Namespace, session, id, and the number of its last arrival."""
    came: dict[tuple[str, str], list[Arrival]] = field(default_factory=dict)
    """What has come to those that are held, by namespace and id, where it is known whole."""

    def add(self, row: Sequence[Any]) -> None:
        """Take in a row of `TOLD`."""
        kind, news, namespace, name, version, run_id = row[:6]
        if kind == Row.QUEUED:
            self.queued.append((namespace, name, version, run_id))
        else:
            self.held.append((namespace, name, run_id, news))


async def send(
    connection: Connection, namespaces: Sequence[str], events: Sequence[Sent]
) -> tuple[list[Outcome], Reached]:
    """Bring events to runs; return what became of each, and whom they reached.

    Raises ValueError for values that no column can hold.
    """
    outcomes: dict[int, Outcome] = {}
    found = Reached()
    comes_at: list[int] = []
    newest: dict[int, str] = {}
    for row in await prepared.rows(connection, _SEND, send_arrays(namespaces, events)):
        if row[0] == Row.EVENT:
            _, n, result, state, retry, *_ = row
            if retry is not None:
                newest[n] = retry
            outcomes[n] = Outcome(result, State(state) if result == "ended" else None)
        else:
            found.add(row)
            if row[0] == Row.HELD:
                comes_at.append(row[6])
    told = [outcomes[n] for n in range(1, len(events) + 1)]
    if found.held:
        each = enumerate(zip(namespaces, events, told, strict=True), 1)
        taken = [
            (namespace, newest.get(n, event.run_id), event)
            for n, (namespace, event, outcome) in each
            if outcome.result == "taken"
        ]
        found.came = _came(taken, found.held, comes_at)
    return told, found


def _came(
    taken: Iterable[tuple[str, str, Sent]], held: Sequence[tuple[str, str, str, int]], comes_at: Sequence[int]
) -> dict[tuple[str, str], list[Arrival]]:
    """Return what has come to runs that are held, as `PUT` numbers it; `comes_at` is when the first of each came."""
    of_run: dict[tuple[str, str], list[Sent]] = {(namespace, run_id): [] for namespace, _, run_id, _ in held}
    for namespace, run_id, event in taken:
        if (events := of_run.get((namespace, run_id))) is not None:
            events.append(event)
    return {
        (namespace, run_id): [
            Arrival(last - len(events) + place, at + place - 1, EVENT, event.name, event.value, event.id)
            for place, event in enumerate(events, 1)
        ]
        for (namespace, _, run_id, last), at in zip(held, comes_at, strict=True)
        if (events := of_run[namespace, run_id])
    }


def send_arrays(namespaces: Sequence[str], events: Sequence[Sent | SendOp]) -> list[Array]:
    """Return events as columns, with the namespaces of those who send them."""
    return [
        Texts(namespaces),
        Uuids([event.run_id for event in events]),
        Uuids([event.id for event in events]),
        Texts([event.name for event in events]),
        Texts([event.key for event in events]),
        Texts([event.digest for event in events]),
        Blobs([bytes(event.value) for event in events]),
    ]
