"""Own the life of a run: its states, the moves between them, and nothing else.

`TRANSITIONS` is the only source of legality. The daemon derives the `WHERE state IN (...)` of each
UPDATE from `sources()`, so SQL and Python cannot drift apart. Each move has exactly one target state.
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


class Move(StrEnum):
    """What happens to a run; the names also stand in `run_history.move`."""

    DUE = "due"
    CLAIM = "claim"
    RELEASE = "release"
    RESCUE = "rescue"
    BACK_OFF = "back_off"
    CRASH_LOOP = "crash_loop"
    DIVERGE = "diverge"
    OVERSIZE = "oversize"
    SLEEP = "sleep"
    WAIT = "wait"
    ARRIVE = "arrive"
    RETRY = "retry"
    COMPLETE = "complete"
    FAIL = "fail"
    RESUME = "resume"
    TIME_OUT = "time_out"
    DEFER = "defer"
    PAUSE = "pause"
    WAKE = "wake"
    CANCEL = "cancel"
    CONTINUE = "continue"
    AGAIN = "again"


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
BEGUN: Final = frozenset(State) - TERMINAL - {State.SCHEDULED}
"""States of runs in flight: of one that was started, code has gone a part of its way."""
HELD: Final = frozenset({State.BLOCKED, State.PAUSED})
"""States that only a person, a deploy or the run's own deadline can end."""
SETTLED: Final = TERMINAL | HELD
"""States in which whoever waits for a run's end is told: it will not go on by itself."""

ENQUEUED: Final = "enqueued"
"""A story's word for a run's birth: the one move without a source state, told by the run's own row."""
TOLD: Final = "told"
"""A story's word for what moves no run: it is to end, and somebody runs it, or it was told so before."""

MOVED: Final = "moved"
"""A story's word for what only changes by which version a run is carried out."""
IMPORTED: Final = "imported"
"""A story's word for what comes of a run elsewhere: from here on it is looked at alone."""

RETRIED: Final = "retried"
"""A story's word for an end that was not the last: another run goes on in the place of this one."""

TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.SCHEDULED, Move.DUE): State.QUEUED,
    (State.SLEEPING, Move.DUE): State.QUEUED,
    (State.RETRYING, Move.DUE): State.QUEUED,
    (State.WAITING, Move.DUE): State.QUEUED,
    # Something has come that it waits for.
    (State.WAITING, Move.ARRIVE): State.QUEUED,
    (State.SLEEPING, Move.ARRIVE): State.QUEUED,
    (State.QUEUED, Move.CLAIM): State.RUNNING,
    # What a claim may end in. Each is written under the fence (run_id, epoch, claim_id).
    (State.RUNNING, Move.RELEASE): State.QUEUED,
    (State.RUNNING, Move.SLEEP): State.SLEEPING,
    (State.RUNNING, Move.WAIT): State.WAITING,
    (State.RUNNING, Move.RETRY): State.RETRYING,
    (State.RUNNING, Move.CONTINUE): State.QUEUED,
    # Its body has failed, and is tried again by the workflow's own rule.
    (State.RUNNING, Move.AGAIN): State.RETRYING,
    (State.RUNNING, Move.DIVERGE): State.BLOCKED,
    (State.RUNNING, Move.OVERSIZE): State.BLOCKED,
    (State.RUNNING, Move.COMPLETE): State.COMPLETED,
    (State.RUNNING, Move.FAIL): State.FAILED,
    (State.RUNNING, Move.CANCEL): State.CANCELLED,
    # What the rescuer does to a run whose worker's lease has run out.
    (State.RUNNING, Move.RESCUE): State.QUEUED,
    (State.RUNNING, Move.BACK_OFF): State.RETRYING,
    (State.RUNNING, Move.CRASH_LOOP): State.BLOCKED,
    # A person may hold a run that does not run; of one that runs it is wanted, and done when its claim ends.
    (State.SCHEDULED, Move.PAUSE): State.PAUSED,
    (State.QUEUED, Move.PAUSE): State.PAUSED,
    (State.SLEEPING, Move.PAUSE): State.PAUSED,
    (State.WAITING, Move.PAUSE): State.PAUSED,
    (State.RETRYING, Move.PAUSE): State.PAUSED,
    (State.PAUSED, Move.RESUME): State.QUEUED,
    (State.BLOCKED, Move.RESUME): State.QUEUED,
    # A person may cut short the wait before a retry after crashes or failures.
    (State.RETRYING, Move.RESUME): State.QUEUED,
    # It is cancelled, and has done nothing that it could take back, or nobody can have it do so, or is to by force.
    (State.SCHEDULED, Move.CANCEL): State.CANCELLED,
    (State.QUEUED, Move.CANCEL): State.CANCELLED,
    (State.SLEEPING, Move.CANCEL): State.CANCELLED,
    (State.WAITING, Move.CANCEL): State.CANCELLED,
    (State.RETRYING, Move.CANCEL): State.CANCELLED,
    (State.PAUSED, Move.CANCEL): State.CANCELLED,
    (State.BLOCKED, Move.CANCEL): State.CANCELLED,
    # Its deadline has passed, and nothing of it is to be taken back or nobody does so. (What is paused stays so.)
    (State.SCHEDULED, Move.TIME_OUT): State.FAILED,
    (State.QUEUED, Move.TIME_OUT): State.FAILED,
    (State.RUNNING, Move.TIME_OUT): State.FAILED,
    (State.SLEEPING, Move.TIME_OUT): State.FAILED,
    (State.WAITING, Move.TIME_OUT): State.FAILED,
    (State.RETRYING, Move.TIME_OUT): State.FAILED,
    (State.BLOCKED, Move.TIME_OUT): State.FAILED,
    # A person may end a sleep early, and the wait for a first claim.
    (State.SCHEDULED, Move.WAKE): State.QUEUED,
    (State.SLEEPING, Move.WAKE): State.QUEUED,
    (State.WAITING, Move.WAKE): State.QUEUED,
    # One that was resumed before its first claim was due.
    (State.QUEUED, Move.DEFER): State.SCHEDULED,
}


class IllegalTransition(ValueError):
    """The move cannot happen to a run in this state."""


def apply(state: State, move: Move) -> State:
    """Return the state after `move`. Raises IllegalTransition where TRANSITIONS has no such pair."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise IllegalTransition(f"a run that is {state} cannot {move}") from None


@cache
def sources(move: Move) -> frozenset[State]:
    """Return the states in which `move` is legal: what a guarded UPDATE asks for."""
    return frozenset(state for state, happening in TRANSITIONS if happening is move)


@cache
def target(move: Move) -> State:
    """Return the one state that `move` leads to, whatever it started from."""
    (state,) = {after for (_, happening), after in TRANSITIONS.items() if happening is move}
    return state
