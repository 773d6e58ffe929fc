"""Own how long runs are kept that have ended, and which of them stay for the sake of others. Pure.

An origin, a run and its retries, is one story: it ends with the newest of them, and goes as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiki.core.states import TERMINAL, State


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that has started another, or has found it by its key, in the generation `asked_in`."""

    state: State
    generation: int
    asked_in: int
    is_retried: bool = False


def holds(holder: Holder) -> bool:
    """Tell whether the row of what a run has started, or found, has to stay for its sake.

    Its journal is read again while it has not ended, and when it is retried; then by that retry, which has what it had.
    What an earlier generation has asked for is nobody's any more.
    """
    return holder.state is not State.COMPLETED and not holder.is_retried and holder.generation == holder.asked_in


class Why(StrEnum):
    """Why a run stays."""

    UNKNOWN = "unknown"
    """There is none of that id, or somebody else has its row just now."""
    LIVE = "live"
    """It has not ended, or a retry of it has not."""
    BUSY = "busy"
    """Somebody is still to be told of its end, or has the row of another of its origin just now."""
    HELD = "held"
    """Another run needs it: one that has not ended, or that may be retried."""


def stays(state: State, *, is_busy: bool, is_held: bool) -> Why | None:
    """Return why a run stays, as far as it alone is concerned; None if it may go. All of an origin go, or none."""
    if state not in TERMINAL:
        return Why.LIVE
    if is_busy:
        return Why.BUSY
    return Why.HELD if is_held else None
