"""Own how words become states of runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiki import State


def states_of(names: Iterable[str]) -> list[State]:
    """Return the states of `running` or `queued,running`. Raises UsageError, with the one that was meant."""
    from aiki import State, UsageError
    from aiki.core.near import did_you_mean

    wanted = [name for given in names for name in given.split(",")]
    known = [str(state) for state in State]
    for name in wanted:
        if name not in known:
            meant = did_you_mean(name, known, otherwise=f"expected one of {', '.join(known)}")
            raise UsageError(f"{name!r} is no state: {meant}")
    return [State(name) for name in wanted]


def unended() -> list[State]:
    """Return the states of runs that have not ended."""
    from aiki import State

    ends = {State.COMPLETED, State.FAILED, State.CANCELLED}
    return [state for state in State if state not in ends]


def ended() -> list[State]:
    """Return the states of runs that have ended."""
    from aiki import State

    going = set(unended())
    return [state for state in State if state not in going]
