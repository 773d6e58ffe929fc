"""Own the exit codes, a public contract: 0-8 speak about runs, 64-78 of the plumbing, above 100 of the waiting."""

from __future__ import annotations

from signal import Signals
from typing import Final

OK: Final = 0
RUN_FAILED: Final = 1
WARNED: Final = 1
"""A check that was to be strict has warned."""
USAGE: Final = 2
DIVERGED: Final = 1
"""The code at hand does not fit a run that was replayed."""
RUN_CANCELLED: Final = 3
RUN_TIMED_OUT: Final = 4
"""The run's own timeout has passed; `WAIT_TIMEOUT` is that of who waits."""
NOT_FOUND: Final = 5
CONFLICT: Final = 6
HELD: Final = 7
"""A run is blocked or paused and needs a person."""
STILL_GOING: Final = 8
BAD_DATA: Final = 65
NO_INPUT: Final = 66
UNREACHABLE: Final = 69
BUG: Final = 70
UNWRITABLE: Final = 74
"""Stdout did not take a result."""
TRY_AGAIN: Final = 75
DENIED: Final = 77
CONFIG: Final = 78
WAIT_TIMEOUT: Final = 124
HUNG_UP: Final = 129
INTERRUPTED: Final = 130
TERMINATED: Final = 143

BY_ERROR_CODE: Final = {
    "usage": USAGE,
    "payload": BAD_DATA,
    "config": CONFIG,
    "not_found": NOT_FOUND,
    "conflict": CONFLICT,
    "unavailable": UNREACHABLE,
    "denied": DENIED,
    "overloaded": TRY_AGAIN,
    "unsupported": UNREACHABLE,
    "wait_timeout": WAIT_TIMEOUT,
    "run_failed": RUN_FAILED,
    "run_timed_out": RUN_TIMED_OUT,
    "run_cancelled": RUN_CANCELLED,
    "run_blocked": HELD,
    "run_ended": CONFLICT,
    "no_input": NO_INPUT,
    "no_output": UNWRITABLE,
}
"""The exit code of each error by its stable wire code; any other error is a bug of ours."""

BY_STATE: Final = {
    "completed": OK,
    "failed": RUN_FAILED,
    "cancelled": RUN_CANCELLED,
    "blocked": HELD,
    "paused": HELD,
}
"""The exit code of a run's outcome; in any other state it is still going."""


def of_signal(number: Signals) -> int:
    """Return the exit code of a process that a signal ended before its work was done."""
    return 128 + number


def of_state(state: str, *, timed_out: bool = False) -> int:
    """Return the exit code that a run's state stands for; of one that failed, whether that was by its own timeout."""
    return RUN_TIMED_OUT if timed_out else BY_STATE.get(state, STILL_GOING)
