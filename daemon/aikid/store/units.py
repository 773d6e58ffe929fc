"""Own the units of claims as columns: what a statement that records them takes, array by array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core.keys import is_task
from aiki.core.states import target
from aiki.rules import recording
from aiki.rules.judging import ENDS
from aiki.wire.messages import Attempt, Unit
from aikid.store.arrays import Array, Blobs, Bools, Ints, Texts, Uuids
from aikid.store.status import COUNTED

_TARGETS: Final = {move: target(move).value for move in ENDS}
FENCED: Final = ("namespace", "run_id", "epoch", "claim_id", "base")
"""The columns of `fence_arrays`."""
ENDING: Final = ("event", "target", "output", "error", "due_us", "why", "tasks", "length")
"""The columns of `end_arrays`."""


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
    flat = [(unit.fence.run_id, seq, e) for unit in units for seq, e in enumerate(unit.entries, unit.base + 1)]
    return [
        Uuids([run_id for run_id, _, _ in flat]),
        Ints([seq for _, seq, _ in flat]),
        Bools([e.ok for _, _, e in flat]),
        Ints([e.turns for _, _, e in flat]),
        Ints([e.at for _, _, e in flat]),
        Texts([e.key for _, _, e in flat]),
        Blobs([bytes(e.value) for _, _, e in flat]),
        Ints([e.asked for _, _, e in flat]),
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
    ]


def _error(attempt: Attempt) -> bytes | None:
    return None if recording.is_start(attempt) else bytes(attempt.error)
