"""Decide what a run does whose body has been run as far as it goes: go on, stay, linger, leave memory, or give up.

Pure: it looks at values, and whoever asked carries out what it says.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from aiki.core.moments import SECOND
from aiki.core.states import Move

if TYPE_CHECKING:
    from aiki.execution.bounds import Limits


class Moving(Enum):
    """What of a run moves without anything from outside."""

    BODY = auto()
    """The body alone goes on at once: it is far from its end, or goes round for ever."""
    BODY_AND_TRIES = auto()
    """The same, and tries run."""
    TRIES = auto()
    """Tries run, and the body waits."""
    READY = auto()
    """A try is ready but for a commit, for the lease to be certain, or for the end of draining."""
    NOTHING = auto()


class Wake(NamedTuple):
    """When a run can move next by itself, and what it waits for until then."""

    at: int
    """In microseconds."""
    move: Move
    """SLEEP for a timer, RETRY for a task's next attempt."""


class Rest(Enum):
    """What the run does."""

    GO_ON = auto()
    """Have a turn again as soon as others had theirs."""
    STAY = auto()
    """Wait for what is under way, and keep the slot."""
    LINGER = auto()
    """Wait in memory, without a slot."""
    LEAVE = auto()
    """Leave memory until the date that it waits for."""
    RELEASE = auto()
    """Give the claim back, for another worker to go on at once."""


def decide(moving: Moving, wake: Wake | None, now: int, *, draining: bool, unwritten: bool, limits: Limits) -> Rest:
    """Return what the run does.

    `unwritten` tells that something is not durable yet: until it is, the run keeps its slot. A run in which nothing
    moves and that waits for no date is at its end or deadlocked, and is not asked about; but while its worker drains
    it may have given back what it waited for.
    """
    match moving:
        case Moving.TRIES:
            return Rest.STAY
        case Moving.BODY_AND_TRIES:
            return Rest.GO_ON
        case Moving.BODY:
            return Rest.RELEASE if draining else Rest.GO_ON
        case Moving.READY:
            return Rest.RELEASE if draining else Rest.STAY
        case Moving.NOTHING:
            if draining:
                return Rest.RELEASE if wake is None else Rest.LEAVE
    assert wake is not None, "a body at rest waits for something"
    seconds = (wake.at - now) / SECOND
    if seconds > (limits.linger_seconds if wake.move is Move.SLEEP else limits.inline_retry_seconds):
        return Rest.LEAVE
    return Rest.LINGER if seconds > 0 and not unwritten else Rest.STAY
