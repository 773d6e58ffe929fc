"""Own what a person's order does to a run in each state: at once, later, or not at all. Pure.

What a claim is in the middle of is not cut off, but by force: of a running run the order is wanted, and done when its
claim ends.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final

from aiki.core.states import TERMINAL, TRANSITIONS, Move, State, apply, target
from aiki.rules.standing import PAUSE, Standing, paused, resumed

WAKE: Final = "wake"
"""What a parked run in which a sleep goes on calls the arrival that ends it."""
CUT_SHORT: Final = "{}; ended at once, without compensation"
"""Why a run has ended that was cancelled by force when it had begun."""


class Obeyed(StrEnum):
    """What has become of an order."""

    DONE = "done"
    """The run stands as it was to."""
    REQUESTED = "requested"
    """It will, when its claim ends."""
    TOO_LATE = "too_late"
    """It has ended."""
    REFUSED = "refused"
    """Its state forbids it."""


def pause(standing: Standing) -> tuple[Obeyed, Standing]:
    """Return what becomes of the order to pause, and how the run stands then."""
    obeyed = judge(standing.state, Move.PAUSE, is_wanted=standing.wanted is not None)
    if obeyed is Obeyed.REQUESTED:
        # It is told by a number, as of an arrival, so that no park overlooks it.
        return obeyed, replace(standing, wanted=PAUSE, news=standing.news + (standing.wanted is None))
    return obeyed, paused(standing) if (standing.state, Move.PAUSE) in TRANSITIONS else standing


def resume(standing: Standing, *, now: int) -> tuple[Obeyed, Standing]:
    """Return what becomes of the order to go on, and how the run stands then. It also takes a pause back."""
    obeyed = judge(standing.state, Move.RESUME, is_wanted=standing.wanted is not None)
    if (standing.state, Move.RESUME) in TRANSITIONS:
        return obeyed, resumed(standing, now=now)
    return obeyed, replace(standing, wanted=None)


def wake(standing: Standing) -> tuple[Obeyed, Standing]:
    """Return what becomes of the order to wake, and how the run stands then: what sleeps is told, as by an arrival.

    Whether a running run sleeps, in its worker's memory, is not known here.
    """
    state = standing.state
    if state is State.RUNNING:
        return Obeyed.REQUESTED, replace(standing, news=standing.news + 1)
    if (state is State.WAITING and WAKE not in standing.waits) or (state is State.QUEUED and standing.epoch > 0):
        return Obeyed.REFUSED, standing  # a queued one that was never claimed waits for its date no more
    if (state, Move.WAKE) not in TRANSITIONS:
        return judge(state, Move.WAKE, is_wanted=False), standing
    news = standing.news + (state is not State.SCHEDULED)
    return Obeyed.DONE, replace(standing, state=apply(state, Move.WAKE), news=news, waits=frozenset())


def cancel(standing: Standing, *, is_told: bool, force: bool = False) -> tuple[Obeyed, Standing]:
    """Return what becomes of the order to cancel, and how the run stands then; only the first one tells it.

    Who has done nothing ends at once, and who is blocked, and by force each. Any other is woken, whatever it waits for,
    to end by itself.
    """
    state = standing.state
    if state in TERMINAL:
        return judge(state, Move.CANCEL, is_wanted=False), standing
    if force or ends_at_once(standing):
        after = replace(standing, state=apply(state, Move.CANCEL), claim_id=None, due_at=None, outcome=None)
        return Obeyed.DONE, replace(after, waits=frozenset(), wanted=None)
    if is_told:
        return Obeyed.REQUESTED, standing
    told = replace(standing, news=standing.news + 1, wanted=None)
    is_at_rest = (state, Move.ARRIVE) in TRANSITIONS or (state, Move.RESUME) in TRANSITIONS
    return Obeyed.REQUESTED, replace(told, state=State.QUEUED, waits=frozenset()) if is_at_rest else told


def ends_at_once(standing: Standing) -> bool:
    """Tell whether a cancel ends the run without its code."""
    return standing.state is State.BLOCKED or (standing.epoch == 0 and standing.length == 0)


def judge(state: State, order: Move, *, is_wanted: bool) -> Obeyed:
    """Return what becomes of an order to a run in this state; `is_wanted` tells that it is to be paused already."""
    if (state, order) in TRANSITIONS or state is target(order):
        return Obeyed.DONE
    if state in TERMINAL:
        return Obeyed.TOO_LATE
    if state is State.RUNNING and order is Move.PAUSE:
        return Obeyed.REQUESTED
    return Obeyed.DONE if is_wanted and order is Move.RESUME else Obeyed.REFUSED
