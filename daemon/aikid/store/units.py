"""Own the units of claims as columns: what a statement that records them takes, array by array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core.keys import is_task
from aiki.core.states import target
from aiki.rules import recording
from aiki.rules.judging import ENDS
from aiki.wire.messages import NULL, Attempt, Entry, Unit
from aikid.store.arrays import Array, Blobs, Bools, Ints, Texts, Uuids
from aikid.store.sql import UNDER_WAY
from aikid.store.status import COUNTED, TASKS

_NULL: Final = bytes(NULL)
_TARGETS: Final = {move: target(move).value for move in ENDS}
FENCED: Final = ("namespace", "run_id", "epoch", "claim_id", "base")
"""The columns of `fence_arrays`."""
ENDING: Final = ("event", "target", "output", "error", "due_us", "why", "tasks", "length")
"""The columns of `end_arrays`."""
_ENTRY: Final = "run_id, seq, ok, turns, at_us, key, value, asked, started_us, arguments"
COMPARED: Final = 8
"""Of these the first are compared with a repeat: the others are for people alone."""
# Most calls are asked when all before them has been delivered: that is not written down.
ASKED: Final = "coalesce({0}.asked, {0}.seq - 1)"
"""How many entries had been delivered when the call of an entry in the journal was asked."""
_INTO_JOURNAL: Final = f"""
INSERT INTO aiki.journal
  (run_id, generation, seq, ok, turns_taken, at_us, key, value, asked, started_us, arguments)
  SELECT f.id, f.generation, e.seq, e.ok, e.turns, e.at_us, e.key, e.value, nullif(e.asked, e.seq - 1), e.started_us,
    e.arguments
  FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS e({_ENTRY})
"""
# A full join is hashed, so `fit` is probed once per entry however the sizes are guessed; what is inner about it is said
# in words that the planner does not see through.
WRITTEN: Final = f"""
written AS (
  {_INTO_JOURNAL} FULL JOIN fit f ON f.id = e.run_id WHERE coalesce(f.n, 0) > 0 AND coalesce(e.seq, 0) > 0
)
"""
"""Writes `entry_arrays` of the units in `fit`, which gives their numbers `n` with the runs' ids and generations."""
RUNG: Final = f"""
rung AS (
  {_INTO_JOURNAL} FULL JOIN fired f ON f.id = e.run_id WHERE coalesce(f.fired, '') = 'done'
)
"""
"""Writes the entries of timers that have `fired`."""
# A journal that has grown by another COUNTED entries is counted anew, from where it was counted last.
COUNTING: Final = f"""
, counted AS (
  INSERT INTO aiki.task_counts (run_id, generation, seq, tasks)
  SELECT f.id, f.generation, c.seq, {TASKS.format(run_id="f.id", generation="f.generation")} + c.tasks
  FROM unnest(%b, %b, %b) AS c(run_id, seq, tasks) JOIN fit f ON f.id = c.run_id
)
"""
"""Writes `count_arrays`."""
_HAS_FAILED: Final = f"known.error <> {UNDER_WAY}"
_IS_START: Final = "known.error IS NULL"
"""A start keeps its place in the story; what was only said has none until the try has failed."""
TRIED: Final = f"""
tried AS (
  INSERT INTO aiki.attempts AS known
    (run_id, generation, key, attempt, next_at_us, error, epoch, journal_length, details, details_at_us, started_us,
     arguments)
  SELECT f.id, f.generation, a.key, a.attempt, a.next_at_us, a.error, a.epoch, a.journal_length, a.details, a.said_us,
    a.started_us, a.arguments
  FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
    AS a(run_id, key, attempt, next_at_us, error, epoch, journal_length, details, said_us, started_us, arguments)
  FULL JOIN fit f ON f.id = a.run_id WHERE coalesce(f.n, 0) > 0 AND coalesce(a.journal_length, -1) >= 0
  ON CONFLICT (run_id, generation, key, attempt) DO UPDATE SET
    error = CASE WHEN excluded.error = {UNDER_WAY} THEN known.error ELSE excluded.error END,
    next_at_us = excluded.next_at_us,
    at = CASE WHEN {_IS_START} THEN known.at ELSE excluded.at END,
    epoch = CASE WHEN {_IS_START} THEN known.epoch ELSE excluded.epoch END,
    journal_length = CASE WHEN {_IS_START} THEN known.journal_length ELSE excluded.journal_length END,
    details = CASE WHEN excluded.details_at_us > coalesce(known.details_at_us, 0) THEN excluded.details
      ELSE known.details END,
    details_at_us = greatest(known.details_at_us, excluded.details_at_us),
    started_us = coalesce(excluded.started_us, known.started_us),
    arguments = coalesce(known.arguments, excluded.arguments)
    WHERE ({_HAS_FAILED}) IS NOT TRUE
)
"""
"""Writes `attempt_arrays` of the units in `fit`: what went wrong stands, and of what was said the last."""


def fence_arrays(namespaces: Sequence[str], units: Sequence[Unit]) -> list[Array]:
    """Return of each unit whose run it means, by which claim, and how long the journal is before it."""
    fences = [unit.fence for unit in units]
    return [
        Texts(namespaces),
        Uuids([fence.run_id for fence in fences]),
        Ints([fence.epoch for fence in fences]),
        Texts([fence.claim_id for fence in fences]),
        # Without entries nothing is added to the journal; who gives back a run that it never saw knows no base.
        Ints([unit.base if unit.entries or unit.timer else None for unit in units]),
    ]


def end_arrays(units: Sequence[Unit], counted: Sequence[bool]) -> list[Array]:
    """Return how each claim ends; of those `counted` the tasks that their units add."""
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


def count_arrays(units: Sequence[Unit]) -> list[Array]:
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


def entry_arrays(units: Sequence[Unit]) -> list[Array]:
    """Return the entries of all units with the runs and places that they belong to."""
    return _entries(
        [(unit.fence.run_id, seq, e) for unit in units for seq, e in enumerate(unit.entries, unit.base + 1)]
    )


def timer_arrays(units: Sequence[Unit]) -> list[Array]:
    """Return the entries that units ask for, as `entry_arrays` does."""
    return _entries(
        [
            (unit.fence.run_id, unit.base + len(unit.entries) + 1, unit.timer.entry)
            for unit in units
            if unit.timer is not None
        ]
    )


def _entries(flat: Sequence[tuple[str, int, Entry]]) -> list[Array]:
    return [
        Uuids([run_id for run_id, _, _ in flat]),
        Ints([seq for _, seq, _ in flat]),
        Bools([e.ok for _, _, e in flat]),
        Ints([e.turns for _, _, e in flat]),
        Ints([e.at for _, _, e in flat]),
        Texts([e.key for _, _, e in flat]),
        Blobs([bytes(e.value) for _, _, e in flat]),
        Ints([e.asked for _, _, e in flat]),
        Ints([e.started for _, _, e in flat]),
        Blobs([None if (told := bytes(e.arguments)) == _NULL else told for _, _, e in flat]),
    ]


def tries_of(units: Sequence[Unit]) -> dict[tuple[str, str, int], tuple[Attempt, Unit, int]]:
    """Return the attempts of units, each with its unit and that one's place, by run, key and number.

    One statement cannot touch a row twice, and of two units none has another's run.
    """
    return {
        (unit.fence.run_id, *number): (attempt, unit, n)
        for n, unit in enumerate(units)
        if unit.attempts
        for number, attempt in recording.tries_of(unit).items()
    }


def attempt_arrays(tries: dict[tuple[str, str, int], tuple[Attempt, Unit, int]]) -> list[Array]:
    """Return the tries of all units, as `tries_of` gives them."""
    return [
        Uuids([run_id for run_id, _, _ in tries]),
        Texts([key for _, key, _ in tries]),
        Ints([number for _, _, number in tries]),
        Ints([attempt.next_at for attempt, _, _ in tries.values()]),
        Blobs([_error(attempt) for attempt, _, _ in tries.values()]),
        Ints([unit.fence.epoch for _, unit, _ in tries.values()]),
        Ints([unit.base for _, unit, _ in tries.values()]),
        Blobs([None if attempt.details == NULL else bytes(attempt.details) for attempt, _, _ in tries.values()]),
        said_array(tries),
        Ints([attempt.started for attempt, _, _ in tries.values()]),
        Blobs([None if (told := bytes(one.arguments)) == _NULL else told for one, _, _ in tries.values()]),
    ]


def said_array(tries: dict[tuple[str, str, int], tuple[Attempt, Unit, int]]) -> Array:
    """Return when each try has said the last of what it said."""
    return Ints([attempt.details_at for attempt, _, _ in tries.values()])


def _error(attempt: Attempt) -> bytes | None:
    return None if recording.is_start(attempt) else bytes(attempt.error)
