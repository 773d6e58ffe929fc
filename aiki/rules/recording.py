"""Own what a unit means to a run: done, done before, fenced or conflict, and how the run stands after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from aiki.core.states import State
from aiki.rules.judging import judge, outcome
from aiki.rules.standing import Standing
from aiki.wire.messages import NONE, NULL, Attempt, Entry, Recorded, Unit

DONE: Final = Recorded("done")
FENCED: Final = Recorded("fenced", "the claim no longer holds this run")
CONFLICT: Final = Recorded("conflict", "another outcome stands in the journal")
Tries = Mapping[tuple[str, int], Attempt]
"""The tries beside a journal, by key and number."""


def record(standing: Standing, unit: Unit, journal: Sequence[Entry], tries: Tries) -> tuple[Recorded, Standing]:
    """Return what becomes of a unit whose run's journal and tries are these, and how the run stands after it.

    Only if it `fits` is there anything to write: its entries after the journal, each of its tries as `tried` says.
    """
    if fits(standing, unit):
        return DONE, after(standing, unit)
    recorded = repeated(standing, unit)
    return (CONFLICT if recorded is DONE and not stands(unit, journal, tries) else recorded), standing


def fits(standing: Standing, unit: Unit) -> bool:
    """Tell whether a unit may be written: its claim holds the run, and its entries follow those that are there."""
    if standing.state is not State.RUNNING or not _is_fenced_by(standing, unit):
        return False
    # Without entries nothing is added to the journal; who gives back a run that it never saw knows no base.
    return not unit.entries or unit.base == standing.length


def after(standing: Standing, unit: Unit) -> Standing:
    """Return how a run stands when a unit that fits has been written."""
    if unit.entries:
        standing = replace(standing, length=unit.base + len(unit.entries))
    return standing if unit.end is None else judge(standing, unit.end)


def repeated(standing: Standing | None, unit: Unit) -> Recorded:
    """Return what a unit is that does not fit, its run unknown if None.

    DONE says that this very claim may have written it before; whether it `stands` is still to be compared.
    """
    if standing is None or not _is_fenced_by(standing, unit):
        return FENCED
    if unit.end is not None:
        return DONE if standing.outcome == outcome(unit.end) else CONFLICT
    if standing.state is not State.RUNNING:
        return FENCED
    return DONE if standing.length >= unit.base + len(unit.entries) else CONFLICT


def stands(unit: Unit, journal: Sequence[Entry], tries: Tries) -> bool:
    """Tell whether all entries and tries of a unit are on record just as it says."""
    if journal[unit.base : unit.base + len(unit.entries)] != unit.entries:
        return False
    return all((known := tries.get(number)) is not None and _says(known, one) for number, one in tries_of(unit).items())


def tries_of(unit: Unit) -> dict[tuple[str, int], Attempt]:
    """Return the tries of a unit by key and number: of a start and its failure the failure."""
    return {(one.key, one.attempt): one for one in unit.attempts}


def tried(known: Attempt | None, new: Attempt) -> Attempt:
    """Return what is on record of a try after a unit says `new` of it: what went wrong stands."""
    return new if known is None or is_start(known) else known


def is_start(attempt: Attempt) -> bool:
    """Tell whether a try is one of which no failure is known: the start of an `at_most_once` task."""
    return attempt.error in (NONE, NULL)


def _says(known: Attempt, repeat: Attempt) -> bool:
    # A start stands also when its failure has followed.
    return is_start(repeat) or (known.error, known.next_at) == (repeat.error, repeat.next_at)


def _is_fenced_by(standing: Standing, unit: Unit) -> bool:
    return (standing.epoch, standing.claim_id) == (unit.fence.epoch, unit.fence.claim_id)
