"""Own what a person's order does to a run in each state: at once, later, or not at all. Pure.

What a claim is in the middle of is never cut off: of a running run the order is wanted, and done when its claim ends.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from aiki.core.states import TERMINAL, TRANSITIONS, Move, State, target
from aiki.rules.standing import PAUSE, Standing, paused, resumed


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


def judge(state: State, order: Move, *, is_wanted: bool) -> Obeyed:
    """Return what becomes of an order to a run in this state; `is_wanted` tells that it is to be paused already."""
    if (state, order) in TRANSITIONS or state is target(order):
        return Obeyed.DONE
    if state in TERMINAL:
        return Obeyed.TOO_LATE
    if state is State.RUNNING and order is Move.PAUSE:
        return Obeyed.REQUESTED
    return Obeyed.DONE if is_wanted and order is Move.RESUME else Obeyed.REFUSED
