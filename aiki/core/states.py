"""Own the life of a run: its states, the events that move it, and nothing else.

`TRANSITIONS` is the only source of legality. The daemon derives the `WHERE state IN (...)` of each
UPDATE from `sources()`, so SQL and Python cannot drift apart. Each event has exactly one target state.
"""

from enum import StrEnum
from functools import cache
from typing import Final


class State(StrEnum):
    """Where a run stands. `completed`, `failed` and `cancelled` are terminal."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SLEEPING = "sleeping"
    WAITING = "waiting"
    RETRYING = "retrying"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What happens to a run; the names also stand in `run_history.event`."""

    DUE = "due"
    CLAIM = "claim"
    RELEASE = "release"
    RESCUE = "rescue"
    BACK_OFF = "back_off"
    CRASH_LOOP = "crash_loop"
    DIVERGE = "diverge"
    OVERSIZE = "oversize"
    SLEEP = "sleep"
    RETRY = "retry"
    COMPLETE = "complete"
    FAIL = "fail"
    RESUME = "resume"


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
HELD: Final = frozenset({State.BLOCKED, State.PAUSED})
"""States that only a person or a deploy can end."""

ENQUEUED: Final = "enqueued"
"""The history's word for a run's birth: the one event without a source state."""

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.SCHEDULED, Event.DUE): State.QUEUED,
    (State.SLEEPING, Event.DUE): State.QUEUED,
    (State.RETRYING, Event.DUE): State.QUEUED,
    (State.QUEUED, Event.CLAIM): State.RUNNING,
    # What a claim may end in. Each is written under the fence (run_id, epoch, claim_id).
    (State.RUNNING, Event.RELEASE): State.QUEUED,
    (State.RUNNING, Event.SLEEP): State.SLEEPING,
    (State.RUNNING, Event.RETRY): State.RETRYING,
    (State.RUNNING, Event.DIVERGE): State.BLOCKED,
    (State.RUNNING, Event.OVERSIZE): State.BLOCKED,
    (State.RUNNING, Event.COMPLETE): State.COMPLETED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    # What the rescuer does to a run whose worker's lease has run out.
    (State.RUNNING, Event.RESCUE): State.QUEUED,
    (State.RUNNING, Event.BACK_OFF): State.RETRYING,
    (State.RUNNING, Event.CRASH_LOOP): State.BLOCKED,
    (State.BLOCKED, Event.RESUME): State.QUEUED,
    # A person may cut short the wait before a retry after crashes or failures.
    (State.RETRYING, Event.RESUME): State.QUEUED,
}


class IllegalTransition(ValueError):
    """The event cannot happen to a run in this state."""


def apply(state: State, event: Event) -> State:
    """Return the state after `event`. Raises IllegalTransition where TRANSITIONS has no such pair."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a run that is {state} cannot {event}") from None


@cache
def sources(event: Event) -> frozenset[State]:
    """Return the states in which `event` is legal: what a guarded UPDATE asks for."""
    return frozenset(state for state, happening in TRANSITIONS if happening is event)


@cache
def target(event: Event) -> State:
    """Return the one state that `event` leads to, whatever it started from."""
    (state,) = {after for (_, happening), after in TRANSITIONS.items() if happening is event}
    return state
