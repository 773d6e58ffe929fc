"""Own how a run stands, as the rules see it: what they look at and what they change. Pure.

A rule takes a standing and what happens, and returns the standing after it; whoever keeps the run (a row in Postgres,
an object in memory) keeps these fields with it. Beside the value stand here the moves that look at nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from aiki.core.states import TRANSITIONS, Move, State, apply

PAUSE: Final = "pause"
"""What may be wanted of a running run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a claim has ended: as in its `End`, payloads by their SHA-256."""

    move: Move
    why: str | None = None
    due_at: int | None = None
    output: bytes | None = None
    error: bytes | None = None
    input: bytes | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands; times in microseconds since 1970."""

    state: State
    epoch: int = 0
    """How often it has been claimed."""
    claim_id: str | None = None
    """Of the last claim; it stays when the claim ends by its own word, so that a repeat of that is known."""
    generation: int = 0
    """Which life of the run this is; each has a journal of its own."""
    length: int = 0
    """Of its journal."""
    crash_count: int = 0
    """Leases lost in a row without progress."""
    crash_length: int = 0
    """The journal's length when a lease was lost last."""
    due_at: int | None = None
    outcome: Outcome | None = None
    """How the last claim has ended; None while it goes on, and when it was taken from its worker."""
    news: int = 0
    """The number of its last arrival."""
    unread: int = 0
    """Events that came and were not consumed."""
    waits: frozenset[str] = frozenset()
    """The arrivals that it rests for."""
    wakes_at: int | None = None
    """The number of the arrival from which on an end of a child wakes it, if it rests for several."""
    wanted: str | None = None
    """What a person wants of it while it runs: PAUSE."""


def rested(standing: Standing) -> Standing:
    """Return how a run stands that has just left its claim in this state: paused, if that is wanted and it can be."""
    if standing.wanted is None:
        return standing
    standing = replace(standing, wanted=None)
    return paused(standing) if (standing.state, Move.PAUSE) in TRANSITIONS else standing


def continued(standing: Standing) -> Standing:
    """Return how a run stands that goes on in its next generation: with an empty journal, and all that has come."""
    return replace(standing, generation=standing.generation + 1, length=0, crash_length=0)


def paused(standing: Standing) -> Standing:
    """Return how a run stands that is held; its date stays as its claim's end named it. Raises IllegalTransition."""
    return replace(standing, state=apply(standing.state, Move.PAUSE), waits=frozenset())


def woken(standing: Standing) -> Standing:
    """Return how a run stands whose time has come. Raises IllegalTransition."""
    return replace(standing, state=apply(standing.state, Move.DUE), waits=frozenset())


def resumed(standing: Standing, *, now: int = 0) -> Standing:
    """Return how a run stands that a person lets go on. Raises IllegalTransition.

    One that was never claimed waits on for its date, if that is later than `now`.
    """
    state, due_at = apply(standing.state, Move.RESUME), None
    if not standing.epoch and standing.due_at is not None and standing.due_at > now:
        state, due_at = apply(state, Move.DEFER), standing.due_at
    return replace(standing, state=state, claim_id=None, crash_count=0, due_at=due_at, outcome=None)
