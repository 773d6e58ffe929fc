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

    at: int | None
    """In microseconds; None if it waits for an arrival alone, however long that takes."""
    move: Move
    """SLEEP for a timer, RETRY for a task's next attempt, WAIT for an arrival or what comes before."""
    since: int = 0
    """Since when it has waited for an arrival, in microseconds."""


class Rest(Enum):
    """What the run does."""

    GO_ON = auto()
    """Have a turn again as soon as others had theirs."""
    STAY = auto()
    """Wait for what is under way, and keep the slot."""
    LINGER = auto()
    """Wait in memory, without a slot."""
    LEAVE = auto()
    """Leave memory until the date or the arrival that it waits for."""
    RELEASE = auto()
    """Give the claim back, for another worker to go on at once."""


def decide(moving: Moving, wake: Wake | None, now: int, *, draining: bool, unwritten: bool, limits: Limits) -> Rest:
    """Return what the run does.

    `unwritten` tells that something is not durable yet: until it is, the run keeps its slot. A run in which nothing
    moves and that waits for nothing is at its end or deadlocked, and is not asked about; but while its worker drains
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
    if wake.move is Move.WAIT:
        return _await_arrival(wake, now, unwritten=unwritten, limits=limits)
    assert wake.at is not None, "only an arrival has no date"
    seconds = (wake.at - now) / SECOND
    if seconds > (limits.linger_seconds if wake.move is Move.SLEEP else limits.inline_retry_seconds):
        return Rest.LEAVE
    return Rest.LINGER if seconds > 0 and not unwritten else Rest.STAY


def lingers_until(wake: Wake, limits: Limits) -> int | None:
    """Return when to look again at a run that is at rest: at its date, or when it has waited long enough in memory."""
    if wake.move is not Move.WAIT:
        return wake.at
    over = wake.since + round(limits.linger_seconds * SECOND)
    return over if wake.at is None else min(wake.at, over)


def _await_arrival(wake: Wake, now: int, *, unwritten: bool, limits: Limits) -> Rest:
    """Return what a run does that waits for an arrival: it lingers first, for nobody knows when that comes."""
    if unwritten or (wake.at is not None and wake.at <= now):
        return Rest.STAY
    return Rest.LEAVE if now - wake.since >= limits.linger_seconds * SECOND else Rest.LINGER
