"""Write what claims have come to, under their fences, and tell a repeat from another outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiki.core.states import MOVED, TERMINAL, TOLD, Move, State, target
from aiki.rules.judging import STANDSTILLS
from aiki.rules.standing import Outcome, Standing
from aiki.wire.messages import Recorded, Unit
from aikid.store import errands, prepared
from aikid.store.arrays import Ints, Texts, Uuids
from aikid.store.inbox import Reached
from aikid.store.listing import CLOSED
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS, PAUSABLE, SINCE, UNDER_WAY, quoted
from aikid.store.status import TASKS
from aikid.store.units import (
    ASKED,
    COMPARED,
    COUNTING,
    ENDING,
    FENCED,
    TRIED,
    WRITTEN,
    attempt_arrays,
    count_arrays,
    end_arrays,
    entry_arrays,
    fence_arrays,
    said_array,
    tries_of,
)

# One statement, one commit. It locks the runs in id order, those that the fence lets through (READ COMMITTED looks at
# the newest version after a wait); then the base is probed in the journal's primary key, within the run's generation.
# If the journal was written between this statement's snapshot and its lock, the insert below meets a duplicate key, the
# statement is undone whole and repeated. The state is compared with a column, lest the planner walk `runs_running`.
_WRITE: Final = f"""
WITH unit AS MATERIALIZED (
  SELECT *, '{State.RUNNING}' AS state FROM unnest({{slots}}) WITH ORDINALITY AS u({{columns}}, n)
), held AS MATERIALIZED (
  SELECT r.id, r.generation, r.created_at, r.starts_at, r.started_at, r.workflow, r.version, r.wanted, u.*
  FROM unit u JOIN aiki.runs r ON r.id = u.run_id
  WHERE r.state = u.state AND r.epoch = u.epoch AND r.claim_id = u.claim_id AND r.namespace = u.namespace
  ORDER BY r.id FOR NO KEY UPDATE OF r
), fit AS MATERIALIZED (
  SELECT h.* FROM held h WHERE h.base IS NULL OR h.base = {LENGTH.format("h")}
), {WRITTEN}
"""


def _writing(*columns: str) -> str:
    return _WRITE.format(slots=", ".join("%b" for _ in columns), columns=", ".join(columns))


# Most batches of a run's middle hold entries and nothing else: half the arrays, and three writing nodes less to set up.
_RECORD_ENTRIES: Final = f"""
{_writing(*FENCED)}{{counting}}
SELECT 0, {MICROSECONDS.format("aiki.now()")} UNION ALL SELECT f.n, NULL FROM fit f
"""
# A run of which a pause is wanted rests as paused, whatever else its claim's end would make of it.
IS_PAUSED: Final = f"coalesce(f.wanted IS NOT NULL AND f.target IN ({PAUSABLE}), false)"
RESTS: Final = f"CASE WHEN {IS_PAUSED} THEN '{target(Move.PAUSE)}' ELSE f.target END"
"""The state after the end of a claim, of a unit in `fit` with what is `wanted` of its run."""
TOLD_OF: Final = quoted(TERMINAL | {State.QUEUED})
"""The states of which it is told by which route they are, as the inside of an IN list."""
_RECORD: Final = f"""
{_writing(*FENCED, *ENDING)}, {TRIED}, ended AS (
  UPDATE aiki.runs r SET state = {RESTS}, output = f.output, error = f.error,
    why = CASE WHEN {IS_PAUSED} THEN r.why ELSE f.why END, wanted = NULL,
    due_at = 'epoch'::timestamptz + f.due_us * interval '1 microsecond',
    finished_at = CASE WHEN f.target IN ({quoted(TERMINAL)}) THEN aiki.now() END,
    crash_count = CASE WHEN f.event IN ({quoted(STANDSTILLS)}) THEN r.crash_count ELSE 0 END,
    session_id = NULL, history_seq = r.history_seq + 1 + {IS_PAUSED}::int
  FROM fit f WHERE r.id = f.id AND f.event IS NOT NULL
  RETURNING r.id, r.history_seq, f.event, f.why AS reason, f.length, r.namespace, r.workflow, r.version, r.state,
    r.created_at, r.parent_id, r.children
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, journal_length)
  SELECT id, history_seq - (state = '{State.PAUSED}')::int, event, reason, length FROM ended
  UNION ALL SELECT id, history_seq, '{Move.PAUSE}', NULL, length FROM ended WHERE state = '{State.PAUSED}'
), {CLOSED}, {errands.LEFT} {{counting}}
SELECT 0, {MICROSECONDS.format("aiki.now()")}, (SELECT count(*) FROM errand), NULL, NULL, NULL, NULL
UNION ALL
SELECT f.n, CASE WHEN f.event IS NOT NULL THEN {MICROSECONDS.format("f.started_at")} END,
  CASE WHEN f.tasks IS NOT NULL THEN {TASKS.format(run_id="f.id", generation="f.generation")} + f.tasks END, {RESTS},
  CASE WHEN {RESTS} IN ({TOLD_OF}) THEN f.workflow END, CASE WHEN {RESTS} IN ({TOLD_OF}) THEN f.version END,
  CASE WHEN {RESTS} IN ({quoted(TERMINAL)}) THEN {MICROSECONDS.format(SINCE.format("f"))} END
FROM fit f
"""


_ENTRIES_ALONE, _ALL = (statement.format(counting="") for statement in (_RECORD_ENTRIES, _RECORD))
_ENTRIES_COUNTED, _ALL_COUNTED = (statement.format(counting=COUNTING) for statement in (_RECORD_ENTRIES, _RECORD))
STATES: Final = {state.value: state for state in State}
EndedRow: TypeAlias = tuple[int, int | None, State, str | None, str | None, int | None]
"""The time of the first claim; the tasks, if asked for; the state; the route, if it is queued or has ended; since when
one that has ended was under way."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """What one record statement did: the database's clock, and by its place each unit that was done.

    With each stands how its run has come out of the claim, None if that goes on.
    """

    now: int
    done: dict[int, EndedRow | None]
    recorded: Mapping[int, Recorded] = field(default_factory=dict)
    """What is said of units that have to do with what reaches runs."""
    reached: Reached = field(default_factory=Reached)
    errands: int = 0
    """How many were left."""


async def record(
    connection: Connection, namespaces: Sequence[str], units: Sequence[Unit], counted: Sequence[bool]
) -> Wrote:
    """Write all units whose fence and base hold, each all or none. No run may occur twice.

    `counted` asks for the number of tasks in the journal. Raises ValueError for values that no column can hold.
    """
    fenced, entries = fence_arrays(namespaces, units), entry_arrays(units)
    counts = count_arrays(units)
    if not any(unit.end or unit.attempts for unit in units):
        statement = _ENTRIES_COUNTED if counts else _ENTRIES_ALONE
        (_, now), *places = await prepared.rows(connection, statement, [*fenced, *entries, *counts])
        return Wrote(now, {n - 1: None for n, _ in places})
    parameters = [*fenced, *end_arrays(units, counted), *entries, *attempt_arrays(tries_of(units)), *counts]
    (_, now, left, *_), *rows = await prepared.rows(connection, _ALL_COUNTED if counts else _ALL, parameters)
    done: dict[int, EndedRow | None] = {
        n - 1: None if state is None else (started_at, tasks, STATES[state], workflow, version, since)
        for n, started_at, tasks, state, workflow, version, since in rows
    }
    return Wrote(now, done, errands=left or 0)


# Primary keys, no locks; of the history what the last claim ended in, which is what follows it but words to its body.
_STANDING: Final = f"""
SELECT r.namespace, r.id::text, r.state, r.epoch, r.claim_id,
  {LENGTH.format("r")}, r.news_seq,
  h.move, h.reason, {MICROSECONDS.format("r.due_at")}, sha256(r.output), sha256(r.error),
  CASE WHEN h.move = '{Move.CONTINUE}' THEN sha256(r.input) END, r.generation
FROM unnest(%b, %b) AS t(namespace, id) JOIN aiki.runs r ON r.id = t.id AND r.namespace = t.namespace
LEFT JOIN LATERAL (
  SELECT h.move, h.reason FROM aiki.run_history h WHERE h.run_id = r.id AND h.seq > (
    SELECT max(c.seq) FROM aiki.run_history c WHERE c.run_id = r.id AND c.move = '{Move.CLAIM}')
    AND h.move NOT IN ({quoted((TOLD, MOVED))})
  ORDER BY h.seq LIMIT 1
) AS h ON true
"""


async def standings(
    connection: Connection, namespaces: Sequence[str], run_ids: Sequence[str]
) -> dict[tuple[str, str], Standing]:
    """Return how the runs stand now, by namespace and id; unknown ones are left out."""
    cursor = await connection.execute(_STANDING, [Texts(namespaces), Uuids(run_ids)], prepare=True, binary=True)
    return {
        (namespace, run_id): Standing(
            State(state), epoch, claim_id, generation, length, news=news, outcome=move and Outcome(Move(move), *ended)
        )
        for namespace, run_id, state, epoch, claim_id, length, news, move, *ended, generation in await cursor.fetchall()
    }


# Primary keys. A start of an `at_most_once` task stands also when its failure has followed,
# and what was said when more was said later.
_MATCHING: Final = f"""
SELECT n, count(*) FROM (
  SELECT e.n FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b) AS e(n, run_id, seq, ok, turns, at_us, key, value, asked)
  JOIN aiki.runs r ON r.id = e.run_id
  JOIN aiki.journal j ON j.run_id = r.id AND j.generation = r.generation AND j.seq = e.seq AND j.ok = e.ok
    AND j.turns_taken IS NOT DISTINCT FROM e.turns AND j.at_us = e.at_us AND j.key = e.key AND j.value = e.value
    AND {ASKED.format("j")} = e.asked
  UNION ALL
  SELECT e.n FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS e(n, run_id, key, attempt, next_at_us, error, said_us)
  JOIN aiki.runs r ON r.id = e.run_id
  JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation AND a.key = e.key AND a.attempt = e.attempt
    AND CASE WHEN coalesce(e.error, {UNDER_WAY}) = {UNDER_WAY}
      THEN coalesce(a.details_at_us, 0) >= coalesce(e.said_us, 0)
      ELSE a.error = e.error AND a.next_at_us IS NOT DISTINCT FROM e.next_at_us END
) AS matching GROUP BY n
"""


async def standing_units(connection: Connection, units: Sequence[Unit]) -> set[int]:
    """Return the places of those units whose entries and attempts all stand just as they say. Reads no payload."""
    entries = [Ints([n for n, unit in enumerate(units) for _ in unit.entries]), *entry_arrays(units)[:COMPARED]]
    tries = tries_of(units)
    attempts = [Ints([n for _, _, n in tries.values()]), *attempt_arrays(tries)[:5], said_array(tries)]
    cursor = await connection.execute(_MATCHING, [*entries, *attempts], prepare=True, binary=True)
    found: dict[int, int] = dict(await cursor.fetchall())
    counts = Counter(n for _, _, n in tries.values())
    return {n for n, unit in enumerate(units) if found.get(n, 0) == len(unit.entries) + counts[n]}
