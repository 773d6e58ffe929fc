"""Write what claims have come to, under their fences, and tell a repeat from another outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiki.core.keys import is_task
from aiki.core.states import TERMINAL, Move, State, target
from aiki.rules import recording
from aiki.rules.judging import ENDS, STANDSTILLS
from aiki.rules.standing import Outcome, Standing
from aiki.wire.messages import Attempt, Unit
from aikid.store import prepared
from aikid.store.arrays import Array, Blobs, Bools, Ints, Texts, Uuids
from aikid.store.listing import CLOSED
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS, quoted
from aikid.store.status import COUNTED, TASKS

# One statement, one commit. It locks the runs in id order, those that the fence lets through (READ COMMITTED looks at
# the newest version after a wait); then the base is probed in the journal's primary key, within the run's generation.
# If the journal was written between this statement's snapshot and its lock, the insert below meets a duplicate key, the
# statement is undone whole and repeated. The state is compared with a column, lest the planner walk `runs_running`. A
# full join is hashed, so `fit` is probed once per entry however the sizes are guessed; what is inner about it is said
# in words that the planner does not see through.
_WRITE: Final = f"""
WITH unit AS MATERIALIZED (
  SELECT *, '{State.RUNNING}' AS state FROM unnest({{slots}}) WITH ORDINALITY AS u({{columns}}, n)
), held AS MATERIALIZED (
  SELECT r.id, r.generation, r.started_at, r.workflow, r.version, u.*
  FROM unit u JOIN aiki.runs r ON r.id = u.run_id
  WHERE r.state = u.state AND r.epoch = u.epoch AND r.claim_id = u.claim_id AND r.namespace = u.namespace
  ORDER BY r.id FOR NO KEY UPDATE OF r
), fit AS MATERIALIZED (
  SELECT h.* FROM held h WHERE h.base IS NULL OR h.base = {LENGTH.format("h")}
), written AS (
  INSERT INTO aiki.journal (run_id, generation, seq, ok, turns_taken, at_us, key, value)
  SELECT f.id, f.generation, e.seq, e.ok, e.turns, e.at_us, e.key, e.value
  FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS e(run_id, seq, ok, turns, at_us, key, value)
  FULL JOIN fit f ON f.id = e.run_id WHERE coalesce(f.n, 0) > 0 AND coalesce(e.seq, 0) > 0
"""
_FENCED: Final = ("namespace", "run_id", "epoch", "claim_id", "base")
_ENDING: Final = ("event", "target", "output", "error", "due_us", "why", "tasks", "length")


def _writing(*columns: str) -> str:
    return _WRITE.format(slots=", ".join("%b" for _ in columns), columns=", ".join(columns))


# A journal that has grown by another COUNTED entries is counted anew, from where it was counted last.
_COUNTING: Final = f"""
, counted AS (
  INSERT INTO aiki.task_counts (run_id, generation, seq, tasks)
  SELECT f.id, f.generation, c.seq, {TASKS.format(run_id="f.id", generation="f.generation")} + c.tasks
  FROM unnest(%b, %b, %b) AS c(run_id, seq, tasks) JOIN fit f ON f.id = c.run_id
)
"""
# Most batches of a run's middle hold entries and nothing else: half the arrays, and three writing nodes less to set up.
_RECORD_ENTRIES: Final = f"""
{_writing(*_FENCED)}
){{counting}}
SELECT 0, {MICROSECONDS.format("aiki.now()")} UNION ALL SELECT f.n, NULL FROM fit f
"""
_RECORD: Final = f"""
{_writing(*_FENCED, *_ENDING)}
), tried AS (
  INSERT INTO aiki.attempts AS known (run_id, generation, key, attempt, next_at_us, error, epoch, journal_length)
  SELECT f.id, f.generation, a.key, a.attempt, a.next_at_us, a.error, a.epoch, a.journal_length
  FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS a(run_id, key, attempt, next_at_us, error, epoch, journal_length)
  FULL JOIN fit f ON f.id = a.run_id WHERE coalesce(f.n, 0) > 0 AND coalesce(a.journal_length, -1) >= 0
  ON CONFLICT (run_id, generation, key, attempt) DO UPDATE SET error = excluded.error, next_at_us = excluded.next_at_us
    WHERE known.error IS NULL
), ended AS (
  UPDATE aiki.runs r SET state = f.target, output = f.output, error = f.error, why = f.why,
    due_at = 'epoch'::timestamptz + f.due_us * interval '1 microsecond',
    finished_at = CASE WHEN f.target IN ({quoted(TERMINAL)}) THEN aiki.now() END,
    crash_count = CASE WHEN f.event IN ({quoted(STANDSTILLS)}) THEN r.crash_count ELSE 0 END,
    session_id = NULL, history_seq = r.history_seq + 1
  FROM fit f WHERE r.id = f.id AND f.event IS NOT NULL
  RETURNING r.id, r.history_seq, f.event, f.why, f.length, r.namespace, r.workflow, r.version, r.state, r.created_at
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, journal_length)
  SELECT id, history_seq, event, why, length FROM ended
), {CLOSED} {{counting}}
SELECT 0, {MICROSECONDS.format("aiki.now()")}, NULL, NULL, NULL, NULL
UNION ALL
SELECT f.n, CASE WHEN f.event IS NOT NULL THEN {MICROSECONDS.format("f.started_at")} END,
  CASE WHEN f.tasks IS NOT NULL THEN {TASKS.format(run_id="f.id", generation="f.generation")} + f.tasks END, f.target,
  CASE WHEN f.target = '{State.QUEUED}' THEN f.workflow END, CASE WHEN f.target = '{State.QUEUED}' THEN f.version END
FROM fit f
"""


_ENTRIES_ALONE, _ALL = (statement.format(counting="") for statement in (_RECORD_ENTRIES, _RECORD))
_ENTRIES_COUNTED, _ALL_COUNTED = (statement.format(counting=_COUNTING) for statement in (_RECORD_ENTRIES, _RECORD))
_TARGETS: Final = {move: target(move).value for move in ENDS}
_STATES: Final = {state.value: state for state in State}
EndedRow: TypeAlias = tuple[int, int | None, State, str | None, str | None]
"""The time of the first claim; the tasks, if asked for; the state; the route, if it is queued."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """What one record statement did: the database's clock, and by its place each unit that was done.

    With each stands how its run has come out of the claim, None if that goes on.
    """

    now: int
    done: dict[int, EndedRow | None]


async def record(
    connection: Connection, namespaces: Sequence[str], units: Sequence[Unit], counted: Sequence[bool]
) -> Wrote:
    """Write all units whose fence and base hold, each all or none. No run may occur twice.

    `counted` asks for the number of tasks in the journal. Raises ValueError for values that no column can hold.
    """
    fenced, entries = _fence_arrays(namespaces, units), _entry_arrays(units)
    counts = _count_arrays(units)
    if not any(unit.end or unit.attempts for unit in units):
        statement = _ENTRIES_COUNTED if counts else _ENTRIES_ALONE
        (_, now), *places = await prepared.rows(connection, statement, [*fenced, *entries, *counts])
        return Wrote(now, {n - 1: None for n, _ in places})
    parameters = [*fenced, *_end_arrays(units, counted), *entries, *_attempt_arrays(_tries(units)), *counts]
    (_, now, *_), *rows = await prepared.rows(connection, _ALL_COUNTED if counts else _ALL, parameters)
    done: dict[int, EndedRow | None] = {
        n - 1: None if state is None else (started_at, tasks, _STATES[state], workflow, version)
        for n, started_at, tasks, state, workflow, version in rows
    }
    return Wrote(now, done)


def _fence_arrays(namespaces: Sequence[str], units: Sequence[Unit]) -> list[Array]:
    fences = [unit.fence for unit in units]
    return [
        Texts(namespaces),
        Uuids([fence.run_id for fence in fences]),
        Ints([fence.epoch for fence in fences]),
        Texts([fence.claim_id for fence in fences]),
        # Without entries nothing is added to the journal; who gives back a run that it never saw knows no base.
        Ints([unit.base if unit.entries else None for unit in units]),
    ]


def _end_arrays(units: Sequence[Unit], counted: Sequence[bool]) -> list[Array]:
    ends = [unit.end for unit in units]
    return [
        Texts([end.move if end else None for end in ends]),
        Texts([_TARGETS[end.move] if end else None for end in ends]),
        Blobs([bytes(end.output) or None if end else None for end in ends]),
        Blobs([bytes(end.error) or None if end else None for end in ends]),
        Ints([end.due_at if end else None for end in ends]),
        Texts([end.why if end else None for end in ends]),
        # The statement counts by its snapshot, which does not hold the entries that it writes itself.
        Ints([_tasks(unit) if is_counted else None for unit, is_counted in zip(units, counted, strict=True)]),
        # Who gives back a run that it never saw does not know how long its journal is: as long as before.
        Ints([unit.base + len(unit.entries) or None if unit.end else None for unit in units]),
    ]


def _count_arrays(units: Sequence[Unit]) -> list[Array]:
    """Return the runs whose journals are to be counted, how long they are then, and the tasks that their units add."""
    grown = [unit for unit in units if unit.base // COUNTED < (unit.base + len(unit.entries)) // COUNTED]
    if not grown:
        return []
    return [
        Uuids([unit.fence.run_id for unit in grown]),
        Ints([unit.base + len(unit.entries) for unit in grown]),
        Ints([_tasks(unit) for unit in grown]),
    ]


def _tasks(unit: Unit) -> int:
    return sum(is_task(entry.key) for entry in unit.entries)


def _entry_arrays(units: Sequence[Unit]) -> list[Array]:
    flat = [(unit.fence.run_id, seq, e) for unit in units for seq, e in enumerate(unit.entries, unit.base + 1)]
    return [
        Uuids([run_id for run_id, _, _ in flat]),
        Ints([seq for _, seq, _ in flat]),
        Bools([e.ok for _, _, e in flat]),
        Ints([e.turns for _, _, e in flat]),
        Ints([e.at for _, _, e in flat]),
        Texts([e.key for _, _, e in flat]),
        Blobs([bytes(e.value) for _, _, e in flat]),
    ]


def _tries(units: Sequence[Unit]) -> dict[tuple[str, str, int], tuple[Attempt, Unit, int]]:
    """Return the attempts of units, each with its unit and that one's place, by run, key and number.

    One statement cannot touch a row twice, and of two units none has another's run.
    """
    return {
        (unit.fence.run_id, *number): (attempt, unit, n)
        for n, unit in enumerate(units)
        if unit.attempts
        for number, attempt in recording.tries_of(unit).items()
    }


def _attempt_arrays(tries: dict[tuple[str, str, int], tuple[Attempt, Unit, int]]) -> list[Array]:
    return [
        Uuids([run_id for run_id, _, _ in tries]),
        Texts([key for _, key, _ in tries]),
        Ints([number for _, _, number in tries]),
        Ints([attempt.next_at for attempt, _, _ in tries.values()]),
        Blobs([_error(attempt) for attempt, _, _ in tries.values()]),
        Ints([unit.fence.epoch for _, unit, _ in tries.values()]),
        Ints([unit.base for _, unit, _ in tries.values()]),
    ]


def _error(attempt: Attempt) -> bytes | None:
    return None if recording.is_start(attempt) else bytes(attempt.error)


# Primary keys, no locks; of the history what follows the last claim.
_STANDING: Final = f"""
SELECT r.namespace, r.id::text, r.state, r.epoch, r.claim_id,
  {LENGTH.format("r")},
  h.move, h.reason, {MICROSECONDS.format("r.due_at")}, sha256(r.output), sha256(r.error)
FROM unnest(%b, %b) AS t(namespace, id) JOIN aiki.runs r ON r.id = t.id AND r.namespace = t.namespace
LEFT JOIN LATERAL (
  SELECT h.move, h.reason FROM aiki.run_history h WHERE h.run_id = r.id AND h.seq > (
    SELECT max(c.seq) FROM aiki.run_history c WHERE c.run_id = r.id AND c.move = '{Move.CLAIM}')
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
            State(state), epoch, claim_id, length, outcome=Outcome(Move(move), *ended) if move else None
        )
        for namespace, run_id, state, epoch, claim_id, length, move, *ended in await cursor.fetchall()
    }


# Primary keys. A start of an `at_most_once` task stands also when its failure has followed.
_MATCHING: Final = """
SELECT n, count(*) FROM (
  SELECT e.n FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b) AS e(n, run_id, seq, ok, turns, at_us, key, value)
  JOIN aiki.runs r ON r.id = e.run_id
  JOIN aiki.journal j ON j.run_id = r.id AND j.generation = r.generation AND j.seq = e.seq AND j.ok = e.ok
    AND j.turns_taken IS NOT DISTINCT FROM e.turns AND j.at_us = e.at_us AND j.key = e.key AND j.value = e.value
  UNION ALL
  SELECT e.n FROM unnest(%b, %b, %b, %b, %b, %b) AS e(n, run_id, key, attempt, next_at_us, error)
  JOIN aiki.runs r ON r.id = e.run_id
  JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation AND a.key = e.key AND a.attempt = e.attempt
    AND (e.error IS NULL OR (a.error = e.error AND a.next_at_us IS NOT DISTINCT FROM e.next_at_us))
) AS matching GROUP BY n
"""


async def standing_units(connection: Connection, units: Sequence[Unit]) -> set[int]:
    """Return the places of those units whose entries and attempts all stand just as they say. Reads no payload."""
    entries = [Ints([n for n, unit in enumerate(units) for _ in unit.entries]), *_entry_arrays(units)]
    tries = _tries(units)
    attempts = [Ints([n for _, _, n in tries.values()]), *_attempt_arrays(tries)[:5]]
    cursor = await connection.execute(_MATCHING, [*entries, *attempts], prepare=True, binary=True)
    found: dict[int, int] = dict(await cursor.fetchall())
    counts = Counter(n for _, _, n in tries.values())
    return {n for n, unit in enumerate(units) if found.get(n, 0) == len(unit.entries) + counts[n]}
