"""Own what a unit means to a run: done, done before, fenced or conflict, and how the run stands after it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from msgspec import structs

from aiki.core.keys import CANCEL, beginning
from aiki.core.states import State
from aiki.rules.arriving import Fired, holds, reached
from aiki.rules.judging import begins_generation, judge, outcome
from aiki.rules.standing import Standing
from aiki.wire.messages import NONE, NULL, UNDER_WAY, Attempt, Entry, Recorded, Unit

DONE: Final = Recorded("done")
FENCED: Final = Recorded("fenced", "the claim no longer holds this run")
CONFLICT: Final = Recorded("conflict", "its journal or inbox holds something else")
UNFIRED: Final = Recorded("done", timer="early")
FIRED: Final = Recorded("done", timer="done")
_CANCEL: Final = beginning(CANCEL)
Tries = Mapping[tuple[str, int], Attempt]
"""The tries beside a journal, by key and number."""


def record(
    standing: Standing,
    unit: Unit,
    journal: Sequence[Entry],
    tries: Tries,
    *,
    fired: Fired | None = None,
    coming: Sequence[str] = (),
) -> tuple[Recorded, Standing]:
    """Return what becomes of a unit whose run's journal and tries are these, and how the run stands after it.

    Only if it `fits` is there anything to write: its entries after the journal, that of its timer if it has `fired`,
    each of its tries as `tried` says. `coming` are the words of what reaches the run in the same commit, outcomes of
    the unit's own ops among it: that comes before a park, and after a timer.
    """
    if fits(standing, unit):
        standing = after(standing, unit, fired)
        standing = reached(standing, coming) if coming else standing
        held = unit.end is None or holds(standing, unit.end)
        recorded = Recorded("done", timer=fired, parked=held, news=standing.news) if is_folded(unit) else DONE
        return recorded, standing if unit.end is None or not held else judge(standing, unit.end)
    return undone(standing, unit, journal, tries), standing


def undone(standing: Standing, unit: Unit, journal: Sequence[Entry], tries: Tries) -> Recorded:
    """Return what is said of a unit that is not written, since it does not fit or takes what is not there to take."""
    recorded = repeated(standing, unit)
    is_known = recorded.result == "done" and stands(told(unit, recorded), journal, tries)
    return CONFLICT if recorded.result == "done" and not is_known else recorded


def fits(standing: Standing, unit: Unit) -> bool:
    """Tell whether a unit may be written: its claim holds the run, and its entries follow those that are there.

    Nor has its worker seen what has not come: that was told by somebody else, and no park of it would ever hold.
    """
    if standing.state is not State.RUNNING or not _is_fenced_by(standing, unit) or _seen(unit) > standing.news:
        return False
    # Without entries nothing is added to the journal; who gives back a run that it never saw knows no base.
    return not (unit.entries or unit.timer) or unit.base == standing.length


def after(standing: Standing, unit: Unit, fired: Fired | None = None) -> Standing:
    """Return how a run stands when the entries of a unit that fits have been written."""
    count = len(unit.entries) + (fired == "done")
    return replace(standing, length=unit.base + count) if count else standing


def is_folded(unit: Unit) -> bool:
    """Tell whether a unit has to do with what reaches runs: sends, consumes, asks a timer, parks, ends for a parent.

    So have starts that have outcomes, and cancels: their workers are told of the number of these.
    """
    if unit.ops or unit.timer is not None or unit.stops:
        return True
    if unit.starts and any(op.options.key is not None for op in unit.starts):
        return True
    if (end := unit.end) is not None and (end.seen is not None or end.waits or end.parent):
        return True
    return any(entry.takes for entry in unit.entries)


def is_cancelled(unit: Unit) -> bool:
    """Tell whether by this unit its run takes in that it is cancelled."""
    return any(entry.key.startswith(_CANCEL) for entry in unit.entries)


def repeated(standing: Standing | None, unit: Unit) -> Recorded:
    """Return what a unit is that does not fit, its run unknown if None.

    "done" says that this very claim may have written it before; whether what was `told` then `stands` is still to be
    compared.
    """
    if standing is None or not _is_fenced_by(standing, unit):
        return FENCED
    length = unit.base + len(unit.entries)
    if unit.end is not None:
        if standing.outcome == outcome(unit.end):
            return DONE
        # A park that did not hold left the claim as it was.
        was_news = unit.end.seen is not None and standing.state is State.RUNNING and standing.length >= length
        is_known = was_news and _seen(unit) <= standing.news
        return Recorded("done", parked=False, news=standing.news) if is_known else CONFLICT
    if standing.state is not State.RUNNING:
        return FENCED
    if standing.length < length or _seen(unit) > standing.news:
        return CONFLICT
    if unit.timer is None:
        return DONE
    return FIRED if standing.length > length else UNFIRED


def told(unit: Unit, recorded: Recorded) -> Unit:
    """Return the unit with all the entries that it has written, if this is what was said of it."""
    if recorded.timer != "done" or unit.timer is None:
        return unit
    return structs.replace(unit, entries=[*unit.entries, unit.timer.entry])


def stands(unit: Unit, journal: Sequence[Entry], tries: Tries) -> bool:
    """Tell whether all entries and tries of a unit are on record just as it says.

    What an entry took was marked in the inbox with it: a journal need not say so, nor what is for people alone. Of a
    generation that was left nothing need be there any more: how its last claim has ended is known, and says enough.
    """
    if leaves_generation(unit):
        return True
    known = journal[unit.base : unit.base + len(unit.entries)]
    if list(map(_bare, known)) != list(map(_bare, unit.entries)):
        return False
    return all((kept := tries.get(number)) is not None and _says(kept, one) for number, one in tries_of(unit).items())


def leaves_generation(unit: Unit) -> bool:
    """Tell whether a unit ends its generation: its run goes on in the next one."""
    return unit.end is not None and begins_generation(unit.end)


def tries_of(unit: Unit) -> dict[tuple[str, int], Attempt]:
    """Return the tries of a unit by key and number, of each what its rows come to together."""
    found: dict[tuple[str, int], Attempt] = {}
    for one in unit.attempts:
        found[one.key, one.attempt] = tried(found.get((one.key, one.attempt)), one)
    return found


def tried(known: Attempt | None, new: Attempt) -> Attempt:
    """Return what is on record of a try after a unit says `new` of it: what went wrong stands, as does a start."""
    if known is None or not (is_start(known) or is_under_way(known)):
        return new if known is None else known
    made = new if not is_under_way(new) else known
    said = new if _said_at(new) > _said_at(known) else known
    started = known.started if new.started is None else new.started
    arguments = new.arguments if known.arguments == NULL else known.arguments
    return structs.replace(made, details=said.details, details_at=said.details_at, started=started, arguments=arguments)


def is_start(attempt: Attempt) -> bool:
    """Tell whether a try is the start of an `at_most_once` task, of which nothing else is known."""
    return attempt.error in (NONE, NULL)


def is_under_way(attempt: Attempt) -> bool:
    """Tell whether no more is known of a try than what it has said."""
    return attempt.error == UNDER_WAY


def _seen(unit: Unit) -> int:
    """Return the number of the last arrival that the unit's worker says it has seen, as far as it says so."""
    if unit.end is not None:
        return unit.end.seen or 0
    return 0 if unit.timer is None else unit.timer.seen


def _said_at(attempt: Attempt) -> int:
    return attempt.details_at or 0


def _bare(entry: Entry) -> Entry:
    return structs.replace(entry, takes=(), started=None, arguments=NULL)


def _says(known: Attempt, repeat: Attempt) -> bool:
    # A start stands also when its failure has followed, and what was said when more was said later.
    if is_start(repeat) or is_under_way(repeat):
        return _said_at(known) >= _said_at(repeat)
    return (known.error, known.next_at) == (repeat.error, repeat.next_at)


def _is_fenced_by(standing: Standing, unit: Unit) -> bool:
    return (standing.epoch, standing.claim_id) == (unit.fence.epoch, unit.fence.claim_id)
