"""Own what a unit says by which its run is tried again, and why that is refused. Pure.

Its worker says where the run goes on, since it alone knows what has failed its body; whether what has come about since
may be done again is looked at here, by the rules for a retry that a person orders.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aiki.core.errors import PayloadError
from aiki.core.keys import RETRY, beginning, named
from aiki.core.states import TERMINAL, Move
from aiki.rules.retrying import RETRIABLE, Child, Past, awaited, undone
from aiki.wire.codec import decoder
from aiki.wire.messages import End, Entry, Retried, Retry, Unit

_RETRIES: Final = beginning(RETRY)
_INTS: Final = range(1 << 31)
_TIMES: Final = range(253_402_300_799_000_000)
IS_TO_END: Final = "it is to end"
"""Why a run is not tried again that was cancelled, or whose deadline has passed."""
AS_ORDERED: Final = Retry([])
"""A retry from the failure, of which nobody has said more."""


def is_again(unit: Unit) -> bool:
    """Tell whether a unit ends its claim so that its run is tried again."""
    return unit.end is not None and unit.end.move is Move.AGAIN


def check_again(unit: Unit) -> None:
    """Raise PayloadError if a unit has the entry of a retry and is not tried again from its failure, or the reverse."""
    end = unit.end
    is_entry = [entry.key.startswith(_RETRIES) for entry in unit.entries]
    if end is not None and end.anew and end.move is not Move.AGAIN:
        raise PayloadError(f"{end.move.value!r} begins nothing anew: only an `again` does")
    goes_on = end is not None and end.move is Move.AGAIN and not end.anew
    if sum(is_entry) != goes_on or (goes_on and not is_entry[-1]):
        raise PayloadError("the entry of a retry is the last before an `again` that goes on from the failure")
    if goes_on:
        _check_retried(unit, unit.entries[-1])


def retried_of(unit: Unit) -> Retried | None:
    """Return what the entry of a retry says with which a unit ends, that was checked; None if it begins anew."""
    if unit.end is None or unit.end.anew:
        return None
    retried: Retried = decoder(Retried).decode(unit.entries[-1].value)
    return retried


def refusal(past: Past, at: int) -> str | None:
    """Return why a run is not tried again from a cut; None if it is. Whatever it waits for may still be under way."""
    refused = undone(past, at, AS_ORDERED)
    return None if refused is None else refused.words()


def given_up(unit: Unit, why: str) -> Unit:
    """Return the unit, in place of one by which its run is tried again, of a run that fails."""
    end = unit.end
    assert end is not None, "a run is tried again whose claim ends"
    entries = unit.entries if end.anew else unit.entries[:-1]
    failed = End(Move.FAIL, error=end.error, why=f"not tried again: {why}", parent=end.parent)
    return msgspec.structs.replace(unit, entries=entries, end=failed)


def to_renew(past: Past, at: int) -> list[Child]:
    """Return the children that are retried with the run: it has started them and waits for them, and they failed."""
    return [one for one in awaited(past, at) if one.is_owned and one.state in RETRIABLE]


def to_attach(past: Past, at: int) -> list[Child]:
    """Return the others that the run waits for: those that run, or have completed and are to be told of once more."""
    renewed = to_renew(past, at)
    return [one for one in awaited(past, at) if one not in renewed]


def to_cancel(past: Past, at: int) -> list[str]:
    """Return the children that no code knows of any more: they were asked for behind the cut."""
    return [one.run_id for one in past.children if one.asked > at and one.is_owned and one.state not in TERMINAL]


def _check_retried(unit: Unit, entry: Entry) -> None:
    try:
        retried: Retried = decoder(Retried).decode(entry.value)
    except msgspec.MsgspecError as error:
        raise PayloadError(f"entry {entry.key[:100]!r}: {error}") from None
    is_of_it = {retried.run_id, retried.of} == {unit.fence.run_id} and not retried.keep
    if not is_of_it or entry.key != named(RETRY, str(retried.attempt)):
        raise PayloadError(f"entry {entry.key[:100]!r} is not that of the run's own retry")
    if not 0 <= retried.cut < unit.base + len(unit.entries) or retried.attempt not in _INTS:
        raise PayloadError(f"entry {entry.key[:100]!r} cuts where nothing stands")
    if not (retried.at == entry.at and retried.idle in _TIMES):
        raise PayloadError(f"entry {entry.key[:100]!r} has a bad time")
