"""Write runs that go on in the place of others: what these have come to is copied, and what reached them moves.

An arrival is moved and not copied, so that its send is known by the same row as before, whichever run of the origin
it is said again to. All statements are of one transaction, whose runs are locked (`pasts.lock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiki.core.keys import DETAILS
from aiki.core.states import ENQUEUED, RETRIED, TERMINAL, Move, State
from aiki.wire.messages import Entry
from aikid.store.arrays import Array, Blobs, Bools, Ints, Texts, Uuids
from aikid.store.errands import AGAIN, END, WATCHED
from aikid.store.listing import LABELLED, LISTED
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted


@dataclass(frozen=True, slots=True)
class Renewal:
    """A run that goes on in the place of another."""

    old: str
    new: str
    generation: int
    """Of the new one; what is of an earlier one stays behind."""
    parent: tuple[str, int] | None = None
    """The run that waits for it, with its generation; a retry that a person has ordered of it alone has none."""
    input: bytes | None = None
    """Its own, if it is another."""
    entry: Entry | None = None
    """The one that is written behind those that were copied; none in a new generation."""
    length: int = 0
    """How many are copied."""
    tasks: int = 0
    """How many outcomes of tasks count of these."""
    kept: Sequence[tuple[int, int]] = ()
    """The stretches of entries that stay in force."""
    again: Sequence[str] = ()
    """Calls that begin once more though they may not begin twice."""
    starts: Sequence[tuple[str, str]] = ()
    """Its children: ids of starts, and of the runs that they stand for."""
    attached: Sequence[tuple[str, str]] = ()
    """Those of these that run, and are its own from now on, or whose end it is told again."""
    reason: str = ""
    """Why it is there, in words, for its story."""


class Written(NamedTuple):
    """What came of storing runs: in how many seconds the first of their deadlines passes, and the database's clock.

    `errands` are left: ends of children that are to be told.
    """

    due_seconds: float | None
    errands: int
    now: int


_PAIR: Final = "unnest(%b, %b, %b) AS p(old, new, generation)"
_LAST: Final = (1 << 31) - 1
# What stands from here on is addressed by primary keys, or ranges of them, of runs that are locked.
#
# The end of a child that was not given before the cut is told anew; an outcome of an op is found by whoever asks again.
# In a new generation neither is known.
_MOVE: Final = f"""
WITH pair AS MATERIALIZED (
  SELECT p.*, r.generation AS was FROM {_PAIR} JOIN aiki.runs r ON r.id = p.old
), kept AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b) AS k(old, first, last)
), row AS MATERIALIZED (
  SELECT p.new, p.generation = p.was AS goes_on, i.run_id, i.number, i.kind, i.taken_seq IS NOT NULL AND (
    i.taken_generation <> p.was OR EXISTS (
      SELECT FROM kept k WHERE k.old = p.old AND i.taken_seq BETWEEN k.first AND k.last)) AS stays
  FROM pair p JOIN aiki.inbox i ON i.run_id = p.old WHERE i.kind IN ('event', 'op', 'child')
), gone AS (
  DELETE FROM aiki.inbox i USING row w
  WHERE i.run_id = w.run_id AND i.number = w.number AND w.goes_on AND w.kind = 'child' AND NOT w.stays
)
UPDATE aiki.inbox i SET run_id = w.new, taken_generation = CASE WHEN w.stays THEN i.taken_generation END,
  taken_seq = CASE WHEN w.stays THEN i.taken_seq END
FROM row w WHERE i.run_id = w.run_id AND i.number = w.number
  AND (w.kind = 'event' OR w.goes_on AND (w.kind = 'op' OR w.stays))
"""
# Whose an outcome is says the claim before it, which stays behind: each copy brings its worker along. The claims cut a
# journal into stretches, each a range of its primary key; what stands before the first claim was copied itself.
_SINCE: Final = """
coalesce((
  SELECT g.history_seq FROM aiki.generations g WHERE g.run_id = p.old AND g.generation = p.generation), -1)
"""
_JOURNALS: Final = f"""
WITH pair AS MATERIALIZED (
  SELECT * FROM {_PAIR}
), line AS (
  SELECT p.old, h.seq, h.move, h.actor,
    coalesce(max(h.journal_length) OVER (PARTITION BY p.old ORDER BY h.seq), 0) AS length
  FROM pair p JOIN aiki.run_history h ON h.run_id = p.old AND h.seq > {_SINCE}
), claim AS MATERIALIZED (
  SELECT l.old, l.actor, l.length, lead(l.length) OVER (PARTITION BY l.old ORDER BY l.seq) AS until
  FROM line l WHERE l.move = '{Move.CLAIM}'
), stretch AS MATERIALIZED (
  SELECT p.old, NULL AS worker, 0 AS length, (SELECT min(c.length) FROM claim c WHERE c.old = p.old) AS until
  FROM pair p
  UNION ALL SELECT c.old, c.actor, c.length, c.until FROM claim c WHERE c.until IS DISTINCT FROM c.length
)
INSERT INTO aiki.journal
  (run_id, generation, seq, ok, turns_taken, at_us, key, value, asked, started_us, worker, arguments)
SELECT p.new, j.generation, j.seq, j.ok, j.turns_taken, j.at_us, j.key, j.value, j.asked, j.started_us,
  coalesce(j.worker, s.worker), j.arguments
FROM pair p JOIN stretch s ON s.old = p.old CROSS JOIN LATERAL (
  SELECT * FROM aiki.journal j WHERE j.run_id = p.old AND j.generation = p.generation
    AND j.seq > s.length AND j.seq <= coalesce(s.until, {_LAST})
) AS j
"""
_ENTRIES: Final = """
WITH entry AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b) AS e(new, generation, seq, ok, at_us, key, value, tasks)
), counted AS (
  INSERT INTO aiki.task_counts (run_id, generation, seq, tasks) SELECT e.new, e.generation, e.seq, e.tasks FROM entry e
)
INSERT INTO aiki.journal (run_id, generation, seq, ok, at_us, key, value)
SELECT e.new, e.generation, e.seq, e.ok, e.at_us, e.key, e.value FROM entry e
"""
# Of tries only what says that a task may not begin: whatever else was tried is tried anew, from its first try. And what
# the run shows of itself.
_TRIES: Final = f"""
INSERT INTO aiki.attempts
  (run_id, generation, key, attempt, at, error, epoch, journal_length, details, details_at_us, started_us, worker,
   arguments)
SELECT p.new, a.generation, a.key, a.attempt, a.at, a.error, 0, a.journal_length, a.details, a.details_at_us,
  a.started_us, coalesce(a.worker, (
    SELECT h.actor FROM aiki.run_history h WHERE h.run_id = p.old AND h.move = '{Move.CLAIM}' AND h.seq > {_SINCE}
    ORDER BY h.seq LIMIT 1 OFFSET greatest(0, a.epoch - 1 - coalesce((
      SELECT g.epoch FROM aiki.generations g WHERE g.run_id = p.old AND g.generation = p.generation), 0))
  )), a.arguments
FROM {_PAIR} JOIN aiki.attempts a ON a.run_id = p.old AND a.generation = p.generation
WHERE (a.error IS NULL OR a.key = '{DETAILS}') AND NOT EXISTS (
  SELECT FROM unnest(%b, %b) AS g(old, key) WHERE g.old = p.old AND g.key = a.key)
"""
_LISTED: Final = LISTED.format(column=", is_child", value=", parent_id IS NOT NULL")
# Its events are counted where they stand now. A run of the same generation began when the first of its origin did:
# what its body was told then, it is told again.
_RUNS: Final = f"""
WITH pair AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b) WITH ORDINALITY
    AS p(old, new, generation, parent, parent_generation, input, length, reason, n)
), made AS (
  INSERT INTO aiki.runs (
    id, origin_id, created_at, parent_id, parent_generation, depth, namespace, workflow, version, state, priority, key,
    labels, digest, input, attempt, retry, fired, generation, started_at, began_at, news_seq, news_at, unread, children)
  SELECT
    p.new, r.origin_id, aiki.now() + (p.n - 1) * interval '1 microsecond', p.parent::uuid, p.parent_generation, r.depth,
    r.namespace, r.workflow, r.version, '{State.QUEUED}', r.priority, r.key, r.labels,
    r.digest, coalesce(p.input, r.input), r.attempt + 1, r.retry, r.fired, p.generation,
    CASE WHEN p.generation = r.generation THEN r.started_at END,
    CASE WHEN p.generation = r.generation THEN r.began_at END, r.news_seq, r.news_at,
    (SELECT count(*) FROM aiki.inbox i WHERE i.run_id = p.new AND i.kind = 'event' AND i.taken_seq IS NULL),
    (SELECT nullif(count(*), 0) FROM aiki.children c WHERE c.parent_id = p.new)
  FROM pair p JOIN aiki.runs r ON r.id = p.old
  RETURNING id, namespace, created_at, labels, parent_id
), {_LISTED}, {LABELLED}, born AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor, journal_length)
  SELECT p.new, 0, '{ENQUEUED}', p.reason, (%b)[1], p.length FROM pair p
), timed AS (
  INSERT INTO aiki.deadlines (run_id, at, grace, look_at, timeout)
  SELECT p.new, t.at, d.grace, t.at, d.timeout FROM pair p JOIN aiki.deadlines d ON d.run_id = p.old
  CROSS JOIN LATERAL (SELECT aiki.now() + d.timeout AS at) AS t
  RETURNING look_at
)
SELECT extract(epoch FROM min(look_at) - aiki.now())::float8, {MICROSECONDS.format("aiki.now()")} FROM timed
"""
_OLD: Final = f"""
WITH pair AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b) AS p(old, new, reason)
), left_behind AS (
  UPDATE aiki.runs r SET retried_by = p.new, unread = 0, history_seq = r.history_seq + 1 FROM pair p WHERE r.id = p.old
  RETURNING r.id, r.origin_id, r.namespace, r.workflow, r.key, r.history_seq, p.new, p.reason
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor)
  SELECT b.id, b.history_seq, '{RETRIED}', b.reason, (%b)[1] FROM left_behind b
), held AS (
  UPDATE aiki.keys k SET run_id = b.new FROM left_behind b
  WHERE k.namespace = b.namespace AND k.workflow = b.workflow AND k.key = b.key AND k.run_id = b.id
)
INSERT INTO aiki.origins AS o (origin_id, run_id) SELECT b.origin_id, b.new FROM left_behind b
ON CONFLICT (origin_id) DO UPDATE SET run_id = excluded.run_id
"""
_CHILDREN: Final = """
INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)
SELECT s.new, c.start_id, s.run_id, c.generation, c.owned, c.parent_close, c.created_at
FROM unnest(%b, %b, %b, %b) AS s(old, new, start_id, run_id)
JOIN aiki.children c ON c.parent_id = s.old AND c.start_id = s.start_id
"""
# Those that somebody else has started keep their parent, and a mark that they are waited for.
_ATTACHED: Final = f"""
WITH child AS MATERIALIZED (
  SELECT a.run_id, a.new, s.generation, s.owned FROM unnest(%b, %b, %b) AS a(new, start_id, run_id)
  JOIN aiki.children s ON s.parent_id = a.new AND s.start_id = a.start_id
), moved AS (
  UPDATE aiki.runs r SET parent_id = CASE WHEN c.owned THEN c.new ELSE r.parent_id END,
    parent_generation = CASE WHEN c.owned THEN c.generation ELSE r.parent_generation END,
    children = CASE WHEN c.owned THEN r.children ELSE coalesce(r.children, 0) END
  FROM child c WHERE r.id = c.run_id
), errand AS (
  INSERT INTO aiki.errands (run_id, kind)
  SELECT DISTINCT r.id, CASE WHEN c.owned THEN '{END}' ELSE '{WATCHED}' END
  FROM child c JOIN aiki.runs r ON r.id = c.run_id
  WHERE r.state IN ({quoted(TERMINAL)})
  {AGAIN} RETURNING kind
)
SELECT count(*) FROM errand
"""


async def write(connection: Connection, renewals: Sequence[Renewal], *, actor: str | None) -> Written:
    """Store the new runs, queued."""
    olds, news = [one.old for one in renewals], [one.new for one in renewals]
    pair: list[Array] = [Uuids(olds), Uuids(news), Ints([one.generation for one in renewals])]
    who = Texts([actor])
    stretches = [(one.old, *stretch) for one in renewals for stretch in one.kept]
    await _execute(connection, _MOVE, [*pair, *_columns(stretches, Uuids, Ints, Ints)])
    await _execute(connection, _JOURNALS, pair)
    await _execute(connection, _ENTRIES, _entry_arrays(renewals))
    again = [(one.old, key) for one in renewals for key in one.again]
    await _execute(connection, _TRIES, [*pair, *_columns(again, Uuids, Texts)])
    starts = [(one.old, one.new, *start) for one in renewals for start in one.starts]
    await _execute(connection, _CHILDREN, _columns(starts, Uuids, Uuids, Uuids, Uuids))
    ((due_seconds, now),) = await _execute(connection, _RUNS, [*pair, *_run_arrays(renewals), who])
    left = await attach(connection, [(one.new, *child) for one in renewals for child in one.attached])
    told = [f"by run {new}" for new in news]
    await _execute(connection, _OLD, [Uuids(olds), Uuids(news), Texts(told), who])
    return Written(due_seconds, left, now)


async def attach(connection: Connection, children: Sequence[tuple[str, str, str]]) -> int:
    """Have runs hear of the ends of others: their id, that of the start, and of the run that this stands for.

    Return how many errands that leaves, of those that have ended.
    """
    ((left,),) = await _execute(connection, _ATTACHED, _columns(children, Uuids, Uuids, Uuids))
    return int(left)


def _run_arrays(renewals: Sequence[Renewal]) -> list[Array]:
    parents = [one.parent or (None, None) for one in renewals]
    return [
        Texts([run_id for run_id, _ in parents]),
        Ints([generation for _, generation in parents]),
        Blobs([one.input for one in renewals]),
        Ints([one.length + 1 if one.entry else None for one in renewals]),
        Texts([one.reason for one in renewals]),
    ]


def _entry_arrays(renewals: Sequence[Renewal]) -> list[Array]:
    written = [(one, one.entry) for one in renewals if one.entry is not None]
    return [
        Uuids([one.new for one, _ in written]),
        Ints([one.generation for one, _ in written]),
        Ints([one.length + 1 for one, _ in written]),
        Bools([entry.ok for _, entry in written]),
        Ints([entry.at for _, entry in written]),
        Texts([entry.key for _, entry in written]),
        Blobs([bytes(entry.value) for _, entry in written]),
        Ints([one.tasks for one, _ in written]),
    ]


def _columns(rows: Sequence[Sequence[Any]], *kinds: Callable[[list[Any]], Array]) -> list[Array]:
    return [kind([row[place] for row in rows]) for place, kind in enumerate(kinds)]


async def _execute(connection: Connection, statement: str, parameters: Sequence[Array]) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
    return await cursor.fetchall() if cursor.description else []
