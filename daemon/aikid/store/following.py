"""Read what those who follow a run in full are told: its journal from a number on, what is open, and its children.

All is of the generation that the run is in. However long the journal is, no more entries are read than are told; how
many have failed is counted on from where it was counted last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiki.core.keys import DETAILS, END, START, STARTS, TASK, beginning
from aiki.core.states import TERMINAL, State
from aiki.rules.following import MARKS, STARTS_BYTES, TOLD_BYTES, Child, Kin, Tried, Written
from aiki.wire.limits import FOLLOWED_CALLS, FOLLOWED_CHILDREN
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS, UNDER_WAY, quoted

_OPEN_CHILDREN: Final = 50
_KIND: Final = "split_part(j.key, ':', 1)"
_IS_CALL: Final = f"{_KIND} NOT IN ({quoted(MARKS)})"
_HAS_FAILED: Final = f"(NOT j.ok OR (starts_with(j.key, '{beginning(END)}') AND j.value <> '\"{State.COMPLETED}\"'))"


@dataclass(frozen=True, slots=True)
class Counted:
    """How many calls of a generation had an outcome by entry `seq`, and how many of these had failed."""

    generation: int = -1
    seq: int = 0
    done: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Up to where a run has come."""

    now: int
    history_seq: int
    counted: Counted


# Primary keys: of runs, and of the journal from where it was counted last to its end.
_HEAD: Final = f"""
SELECT {MICROSECONDS.format("aiki.now()")}, r.history_seq, r.generation, l.length, c.done, c.failed FROM aiki.runs r
CROSS JOIN LATERAL (SELECT {LENGTH.format("r")} AS length) AS l
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE {_IS_CALL}) AS done, count(*) FILTER (WHERE {_IS_CALL} AND {_HAS_FAILED}) AS failed
  FROM aiki.journal j WHERE j.run_id = r.id AND j.generation = r.generation AND j.seq <= l.length
    AND j.seq > CASE WHEN r.generation = %(generation)s THEN %(seq)s ELSE 0 END
) AS c
WHERE r.id = %(run_id)s AND r.namespace = %(namespace)s
"""


async def head(connection: Connection, namespace: str, run_id: str, known: Counted) -> Head | None:
    """Return up to where a run has come, counted on from what is `known`; None if there is no such run."""
    given = {"run_id": run_id, "namespace": namespace, "generation": known.generation, "seq": known.seq}
    cursor = await connection.execute(_HEAD, given, prepare=True, binary=True)
    if (row := await cursor.fetchone()) is None:
        return None
    now, history_seq, generation, length, done, failed = row
    if generation == known.generation:
        done, failed = known.done + done, known.failed + failed
    return Head(now, history_seq, Counted(generation, length, done, failed))


_TASKS: Final = beginning(TASK)
# The journal's primary key backwards, no further than what is returned; of each task its tries by theirs.
_ENTRIES: Final = f"""
SELECT j.seq, j.key, j.ok, j.at_us, CASE
    WHEN NOT j.ok THEN substring(j.value FROM 1 FOR {TOLD_BYTES})
    WHEN starts_with(j.key, '{beginning(END)}') AND octet_length(j.value) <= {TOLD_BYTES} THEN j.value
    WHEN {_KIND} IN ('{START}', '{STARTS}') AND octet_length(j.value) <= {STARTS_BYTES} THEN j.value END,
  coalesce(t.started_us, j.started_us), j.worker, coalesce(t.tries, 0)
FROM (
  SELECT x.* FROM aiki.journal x WHERE x.run_id = %(run_id)s AND x.generation = %(generation)s
    AND x.seq > %(after)s AND x.seq <= %(upto)s ORDER BY x.seq DESC LIMIT {FOLLOWED_CALLS}
) AS j
LEFT JOIN LATERAL (
  SELECT max(a.attempt + CASE WHEN coalesce(a.error, {UNDER_WAY}) = {UNDER_WAY} THEN 0 ELSE 1 END)::int AS tries,
    min(a.started_us) AS started_us
  FROM aiki.attempts a WHERE a.run_id = %(run_id)s AND a.generation = %(generation)s AND a.key = j.key
) AS t ON starts_with(j.key, '{_TASKS}')
ORDER BY j.seq
"""


async def entries(connection: Connection, run_id: str, upto: Counted, *, after: int) -> list[Written]:
    """Return the newest entries after `after`, in order, of the generation and up to the number that are counted."""
    given = {"run_id": run_id, "generation": upto.generation, "after": after, "upto": upto.seq}
    cursor = await connection.execute(_ENTRIES, given, prepare=True, binary=True)
    return [Written(*row) for row in await cursor.fetchall()]


# `attempts`' primary key from the left, as whoever asks for a run's status does. A try that is on record as running may
# have brought its outcome since: that is among the newest entries, unless it was long ago.
_TRIES: Final = f"""
SELECT DISTINCT ON (a.key) a.key, a.attempt,
  CASE WHEN coalesce(a.error, {UNDER_WAY}) = {UNDER_WAY} THEN NULL ELSE substring(a.error FROM 1 FOR {TOLD_BYTES}) END,
  a.next_at_us, a.details, min(a.started_us) OVER (PARTITION BY a.key)
FROM aiki.attempts a
WHERE a.run_id = %(run_id)s AND a.generation = %(generation)s AND a.key <> '{DETAILS}'
  AND (coalesce(a.error, {UNDER_WAY}) = {UNDER_WAY} OR a.next_at_us > %(now)s)
  AND a.key NOT IN (SELECT j.key FROM aiki.journal j WHERE j.run_id = %(run_id)s AND j.generation = %(generation)s
    AND j.seq <= %(upto)s ORDER BY j.seq DESC LIMIT {FOLLOWED_CALLS})
ORDER BY a.key, a.attempt DESC LIMIT {FOLLOWED_CALLS}
"""


async def tries(connection: Connection, run_id: str, head: Head) -> list[Tried]:
    """Return of each task that has one the last try that runs, or that failed and is due again."""
    counted = head.counted
    given = {"run_id": run_id, "generation": counted.generation, "upto": counted.seq, "now": head.now}
    cursor = await connection.execute(_TRIES, given, prepare=True, binary=True)
    return [
        Tried(key, attempt, error, next_at, said, started)
        for key, attempt, error, next_at, said, started in await cursor.fetchall()
    ]


# `children_created` from the left, and primary keys; of a child that was retried its newest retry.
_KIN: Final = f"""
SELECT x.state, count(*) AS count, (array_agg(ARRAY[x.id::text, x.workflow,
    {MICROSECONDS.format("x.created_at")}::text] ORDER BY s.created_at) FILTER (
      WHERE x.state NOT IN ({quoted(TERMINAL)})))[1:{_OPEN_CHILDREN}]
FROM (
  SELECT c.run_id, c.created_at FROM aiki.children c WHERE c.parent_id = %s AND c.generation = %s
  ORDER BY c.created_at LIMIT {FOLLOWED_CHILDREN}
) AS s JOIN aiki.runs f ON f.id = s.run_id
LEFT JOIN aiki.origins t ON f.retried_by IS NOT NULL AND t.origin_id = f.origin_id
JOIN aiki.runs x ON x.id = coalesce(t.run_id, f.id)
GROUP BY x.state
"""


async def kin(connection: Connection, run_id: str, generation: int) -> Kin:
    """Return the first children of a run by state, and the oldest of those that have not ended."""
    cursor = await connection.execute(_KIN, [run_id, generation], prepare=True, binary=True)
    states: dict[State, int] = {}
    found: list[Child] = []
    for state, count, listed in await cursor.fetchall():
        states[State(state)] = count
        found += (Child(child, workflow, int(at)) for child, workflow, at in listed or ())
    return Kin(states, sorted(found, key=_created)[:_OPEN_CHILDREN])


def _created(child: Child) -> tuple[int, str]:
    return child.created_at, child.run_id
