"""Own what a person's order does to a run that another version of its workflow is to carry out. Pure.

Only a run that rests before a worker takes it up, or that a person has to look at, goes to another version: whoever
runs it has its body in memory, and what it waits for was asked by that. Nothing but the version changes, and what was
blocked is queued again, since the other version is meant to fit.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from aiki.core.states import TERMINAL, State
from aiki.rules.standing import Standing, resumed

MOVABLE: Final = frozenset({State.BLOCKED, State.PAUSED, State.QUEUED, State.SCHEDULED})

Result: TypeAlias = Literal["done", "too_late", "imported", "refused", "changed", "unregistered"]
"""It is of the version, also if it was before; it has ended; it was imported; its state forbids it; it was claimed
since it was looked at; no worker has ever served the version."""


def judge(standing: Standing, *, is_there: bool, is_imported: bool, is_registered: bool, claims: int | None) -> Result:
    """Return what becomes of the order.

    `is_there` tells that the run is of the version already, `claims` how often it had been claimed when it was looked
    at, if it was.
    """
    if standing.state in TERMINAL:
        return "too_late"
    if is_there:
        return "done"
    if is_imported:
        return "imported"
    if standing.state not in MOVABLE:
        return "refused"
    if claims is not None and claims != standing.epoch:
        return "changed"
    return "done" if is_registered else "unregistered"


def moved(standing: Standing, *, keep_blocked: bool) -> Standing:
    """Return how a run stands that has gone to another version."""
    return resumed(standing) if standing.state is State.BLOCKED and not keep_blocked else standing
