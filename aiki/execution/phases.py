"""Own where a claim stands: its phases, what can happen to it in each, and nothing else.

`MOVES` is the only source of what may follow what, as `aiki.core.states.TRANSITIONS` is for runs. What is only
remembered meanwhile (that its worker drains, how the claim is to end) is data beside the phase.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiki.wire.messages import End


class Phase(StrEnum):
    """Where a claim stands."""

    READING = "reading"
    """Its journal is not all here; the body has not begun."""
    LIVE = "live"
    """It holds a slot, and its body moves when anything comes."""
    LINGERING = "lingering"
    """It waits in memory for a date or an arrival, without a slot."""
    RETURNING = "returning"
    """It can move again, and waits for a slot."""
    ENDING = "ending"
    """How it ends is decided; that is not durable yet, and nothing moves any more."""
    OVER = "over"


class Happening(StrEnum):
    """What happens to a claim."""

    BEGIN = "begin"
    """All that its body has to be given again is here."""
    REST = "rest"
    """Nothing in it can move before a date that is near, or before something arrives."""
    WAKE = "wake"
    """That date has come, or what it waits for has arrived."""
    SLOT = "slot"
    """It was given a slot."""
    END = "end"
    """How it ends was decided."""
    NEWS = "news"
    """It was to leave memory from its slot, and may not: something has come that it has not seen."""
    GONE = "gone"
    """Its end is durable, or it was lost to another claim."""


MOVES: Final[dict[tuple[Phase, Happening], Phase]] = {
    (Phase.READING, Happening.BEGIN): Phase.LIVE,
    (Phase.LIVE, Happening.REST): Phase.LINGERING,
    (Phase.LINGERING, Happening.WAKE): Phase.RETURNING,
    (Phase.RETURNING, Happening.SLOT): Phase.LIVE,
    (Phase.READING, Happening.END): Phase.ENDING,
    (Phase.LIVE, Happening.END): Phase.ENDING,
    (Phase.LINGERING, Happening.END): Phase.ENDING,
    (Phase.RETURNING, Happening.END): Phase.ENDING,
    # The daemon has refused the end that was sent, and another one takes its place.
    (Phase.ENDING, Happening.END): Phase.ENDING,
    # It had asked for one when it was told to drain.
    (Phase.ENDING, Happening.SLOT): Phase.ENDING,
    # It was to leave memory: the daemon has refused that, and it goes on. Whether it has a slot it must know.
    (Phase.ENDING, Happening.NEWS): Phase.LIVE,
    (Phase.ENDING, Happening.WAKE): Phase.RETURNING,
    (Phase.READING, Happening.GONE): Phase.OVER,
    (Phase.LIVE, Happening.GONE): Phase.OVER,
    (Phase.LINGERING, Happening.GONE): Phase.OVER,
    (Phase.RETURNING, Happening.GONE): Phase.OVER,
    (Phase.ENDING, Happening.GONE): Phase.OVER,
}


class IllegalHappening(ValueError):
    """It cannot happen to a claim in this phase: a bug of ours."""


class Lifecycle:
    """Where one claim stands, and what is remembered of it until its end."""

    __slots__ = ("_ended_in", "_rested", "draining", "end", "holds_back", "phase")

    def __init__(self) -> None:
        self.phase = Phase.READING
        self.draining = False
        """Its worker stops: no try begins any more."""
        self.end: End | None = None
        """How it ends, once that is decided."""
        self.holds_back = False
        """It has something to send, and may not: its worker drains."""
        self._ended_in = self.phase
        self._rested = (-1, 0)
        """How much had come of the run when it came to rest to wait for an arrival, and when that was."""

    @property
    def is_open(self) -> bool:
        """Whether it is not decided yet how the claim ends, and it was not lost."""
        return self.end is None and self.phase is not Phase.OVER

    def resting_since(self, length: int, now: Callable[[], int]) -> int:
        """Return when the run came to rest: nothing has come of it since. `length` is how much has until now."""
        if self._rested[0] != length:
            self._rested = length, now()
        return self._rested[1]

    def move(self, happening: Happening) -> None:
        """Take in what has happened. Raises IllegalHappening where MOVES has no such pair."""
        try:
            self.phase = MOVES[self.phase, happening]
        except KeyError:
            raise IllegalHappening(f"{happening!s} cannot happen to a claim that is {self.phase}") from None

    def decide(self, end: End) -> None:
        """Take in how the claim ends."""
        self._ended_in = self.phase
        self.move(Happening.END)
        self.end = end

    def go_on(self) -> bool:
        """Take in that it may not leave memory; tell whether it has kept its slot."""
        self.end = None
        has_slot = self._ended_in is Phase.LIVE
        self.move(Happening.NEWS if has_slot else Happening.WAKE)
        return has_slot
