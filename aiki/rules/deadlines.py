"""Own what the deadline of a run does to it: nothing, an end, or the word that it has to end; so for a cancel's. Pure.

What a run has done it may have to take back. So only one that has not begun ends at once, or one that is blocked; any
other is told, by an arrival like a cancel's, and ends by itself. Who does not hear of it in its grace is without a
worker, and ends without having taken anything back. A paused run stays paused: all of this waits until it is resumed.

A cancel has no deadline, but where the options say how long a run may take to end: from it on that is all that counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aiki.core.states import TERMINAL, Move, State, apply, sources
from aiki.rules.standing import Standing, woken

GRACE_SECONDS: Final = 300
"""How long a run may take to hear that it has to end, if its options do not say."""
UNBEGUN: Final = "its deadline passed at {}, before a worker had taken it up"
BLOCKED: Final = "its deadline passed at {}, while it was blocked"
CUT_OFF: Final = "its deadline passed at {}, and it did not end in time after that: ended without compensation"
UNDONE: Final = "it was cancelled, and did not end in time after that: ended without compensation"
TOLD: Final = "its deadline passed at {}: it has to end"
TOLD_BEFORE: Final = "its deadline passed at {}: it had been told to end before"


class Step(StrEnum):
    """What a deadline does to its run."""

    LEAVE = "leave"
    """Nothing, and nothing any more: it has ended, or ends by itself."""
    HOLD = "hold"
    """Nothing before it is resumed."""
    NOTE = "note"
    """Nothing but that its grace begins: it was told before to end."""
    TELL = "tell"
    """It is told to end, and its grace begins."""
    END = "end"
    CUT = "cut"
    """It ends, too, and is cancelled."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline that has passed, or whose grace has, and what its run has heard."""

    told_seq: int | None = None
    """The number of the arrival by which it was told; 0 if it had been told to end before, None if it has to be."""
    cancel_seq: int | None = None
    """The number of the first arrival that told it to end, by whomever."""
    is_taken: bool = False
    """Whether that was delivered to its body."""
    has_grace: bool = False
    """Whether its options say how long it may take."""
    is_cancel: bool = False
    """Whether that time is a cancel's, and has passed."""


def step(standing: Standing, deadline: Deadline) -> Step:
    """Return what the deadline does to a run that stands so."""
    if standing.state in TERMINAL:
        return Step.LEAVE
    if standing.state is State.PAUSED:
        return Step.HOLD
    if deadline.is_cancel:
        return Step.CUT
    if standing.state is State.BLOCKED:
        return Step.END
    if deadline.told_seq is None:
        if standing.epoch == 0 and standing.length == 0:
            return Step.END
        return Step.TELL if deadline.cancel_seq is None else Step.NOTE
    # Whoever was cancelled before ends as a cancel ends, and no deadline interrupts that.
    is_bounded = deadline.has_grace and deadline.told_seq == deadline.cancel_seq
    return Step.LEAVE if deadline.is_taken and not is_bounded else Step.END


def passed(standing: Standing, deadline: Deadline) -> Standing:
    """Return how a run stands when its deadline has done that."""
    match step(standing, deadline):
        case Step.END | Step.CUT as ending:
            state = apply(standing.state, Move.CANCEL if ending is Step.CUT else Move.TIME_OUT)
            return replace(standing, state=state, claim_id=None, due_at=None, outcome=None, waits=frozenset())
        case Step.TELL:
            after = woken(standing) if standing.state in sources(Move.DUE) else standing
            return replace(after, news=standing.news + 1)
        case _:
            return standing
