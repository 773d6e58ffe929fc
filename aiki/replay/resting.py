"""Own what a run rests for that has left memory, as its claim said, and what it would rest for on the code at hand.

Only arrivals and dates are compared. Which child is waited for stands in the journal, where it was started; a call that
waits for a key has no word of its own in the body, nor has a task that is tried again: of those only the date is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiki.core import keys
from aiki.core.moments import SECOND, to_datetime
from aiki.core.states import State
from aiki.execution.sharing import WORD
from aiki.rules.arriving import CHILD, OP
from aiki.rules.controlling import WAKE

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiki.execution.body import Body
    from aiki.execution.frontier import Frontier
    from aiki.replay.recording import Recording

EARLY_US: Final = 5 * SECOND
"""By how much a date may be later than its timer: one that was asked by a clock that is ahead is set again."""
_RESTING: Final = (State.SLEEPING, State.WAITING)
_UNSAID: Final = frozenset({WORD, WAKE})
"""Words that say nothing of what the body asks for: the daemon's of a key, and that a sleep may be ended."""
_SHOWN: Final = 5
_SAID: Final = {CHILD: "the end of a child", OP: "the outcome of a send, start or stop", WORD: "a task's key"}


@dataclass(frozen=True, slots=True)
class Other:
    """Two things that a run rests for, each in words that follow on `it`."""

    recorded: str
    now: str
    """On the code at hand; empty if that waits for no arrival, and sleeps on nothing."""


def other_rest(recording: Recording, body: Body, frontier: Frontier) -> Other | None:
    """Return what the run rests for, if it would rest for another thing on this code; None if not, or not known.

    A run that is cancelled rests for its tries, and one that is retried begins from where it was cut off.
    """
    run = recording.exported
    if run.state not in _RESTING or body.is_cancelled or frontier.is_spinning or body.history.first is not None:
        return None
    timer, waits = body.next_due(), {*body.waits()} - _UNSAID
    now = _told(sorted(waits), timer)
    if not run.waits and run.due_at is None:
        kind = _other_kind(run.state, body, frontier)
        return None if kind is None else Other(kind, now)
    if waits == {*run.waits} - _UNSAID and _is_date(recording, timer):
        return None
    return Other(_told(run.waits, run.due_at), now)


def _other_kind(state: State, body: Body, frontier: Frontier) -> str | None:
    """Return how the run rests by its state, of which no more is known, if it would not rest so on this code."""
    if state is State.SLEEPING:
        return None if frontier.sleeps else "sleeps on a timer"
    may_wait = body.is_waiting or any("@" in call.key for call in frontier.asked)
    return None if may_wait else "waits for an event or a child"


def _is_date(recording: Recording, timer: int | None) -> bool:
    """Tell whether a run that has this timer would rest until the date that is recorded: be it that of a try."""
    run = recording.exported
    due = run.due_at
    if due is None:
        return timer is None
    if timer is not None and timer <= due <= timer + EARLY_US:
        return True
    is_of_try = run.state is State.WAITING and any(one.next_at == due for one in recording.tries)
    return is_of_try and (timer is None or due <= timer)


def _told(words: Collection[str], due_at: int | None) -> str:
    """Return what is waited for, in words; empty if nothing is."""
    names = [keys.said_in(word) for word in words if keys.kind_of(word) == keys.EVENT]
    found = [_SAID[word] for word in words if word in _SAID]
    if names:
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        listed = " or ".join(repr(name) for name in names[:_SHOWN])
        found.insert(0, f"event {listed}{more}")
    until = "" if due_at is None else f" until {_moment(due_at)}"
    if found:
        return f"waits for {' or '.join(found)}{until}"
    return f"sleeps{until}" if until else ""


def _moment(at: int) -> str:
    moment = to_datetime(at)
    return f"{moment:%Y-%m-%d %H:%M:%S}{f'.{moment.microsecond:06}' if moment.microsecond else ''} UTC"
