"""The kinds `cancel` and `interrupt`: both come unasked, in this order, and once in the life of a run.

The first takes the arrival that cancels the run. Whether the second has come must not depend on a clock on replay, so
it is an entry of its own.
"""

from __future__ import annotations

from aiki.core.keys import CANCEL, INTERRUPT, named
from aiki.execution.kind import Cancellable, Parent
from aiki.wire.codec import decoder
from aiki.wire.messages import NULL, Arrival, CancelNote, Entry


class Cancels:
    """That a run is to end."""

    def recorded(self, entry: Entry, /) -> str:
        """Return who wants that, and why."""
        return f"the cancel: {cancel_of(entry).words()}"

    def is_next(self, entry: Entry, family: Parent | None, /) -> bool:
        """Return True: no code asks for it."""
        return True

    def deliver(self, entry: Entry, cancelling: Cancellable, family: Parent | None, /) -> None:
        """Keep the body from moving until its tries have ended."""
        cancelling.begin(entry)


class Interrupts:
    """That its body hears of it."""

    def recorded(self, entry: Entry, /) -> str:
        """Return what happened."""
        return "the interruption of the body by a cancel"

    def is_next(self, entry: Entry, family: Parent | None, /) -> bool:
        """Return True: no code asks for it."""
        return True

    def deliver(self, entry: Entry, cancelling: Cancellable, family: Parent | None, /) -> None:
        """Raise CancelledError where the body waits."""
        cancelling.interrupt()


def cancelled(arrival: Arrival, at: int, turns: int | None, asked: int) -> Entry:
    """Return the entry that takes the arrival of a cancel."""
    reason = decoder(CancelNote).decode(arrival.value).reason
    return Entry(named(CANCEL, reason), True, arrival.value, at, turns, asked, (arrival.number,))


def interrupted(at: int, turns: int | None, asked: int) -> Entry:
    """Return the entry of the interruption."""
    return Entry(named(INTERRUPT, "body"), True, NULL, at, turns, asked)


def cancel_of(entry: Entry) -> CancelNote:
    """Return what the entry of a cancel says."""
    note: CancelNote = decoder(CancelNote).decode(entry.value)
    return note
