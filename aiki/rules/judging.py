"""Own how what has come of a run becomes a state: by which moves a claim may end, and where each leads. Pure."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Final

from msgspec import Raw

from aiki.core.states import Move, State, apply, sources, target
from aiki.rules.standing import Outcome, Standing, continued, rested
from aiki.wire.messages import End

ENDS: Final = frozenset(move for move in Move if State.RUNNING in sources(move)) - {
    Move.RESCUE,
    Move.BACK_OFF,
    Move.CRASH_LOOP,
    Move.TIME_OUT,
}
"""How a claim may end: what happens to a running run, but for what only the loss of a lease or a deadline does."""
PARKING: Final = frozenset(move for move in ENDS if target(move) in sources(Move.DUE)) - {Move.WAIT}
"""Ends after which the run goes on at `due_at`. (A wait may have a date.)"""
STANDSTILLS: Final = frozenset({Move.RELEASE})
"""Ends that say nothing of the run, only of its worker: its crashes are not forgotten."""


def judge(standing: Standing, end: End) -> Standing:
    """Return how a run stands when its claim has ended so. Raises IllegalTransition."""
    if begins_generation(end):
        standing = continued(standing)
    return rested(
        replace(
            standing,
            state=apply(standing.state, end.move),
            crash_count=standing.crash_count if end.move in STANDSTILLS else 0,
            due_at=end.due_at,
            outcome=outcome(end),
            waits=frozenset(end.waits),
            wakes_at=wakes_at(end),
        )
    )


def wakes_at(end: End) -> int | None:
    """Return the number of the arrival from which on an end of a child wakes a run that parks so; None is from any on.

    Whatever else comes meanwhile is counted, too: it may wake a little early, never late.
    """
    return None if end.ends is None or end.seen is None else end.seen + end.ends


def begins_generation(end: End) -> bool:
    """Tell whether a run goes on in its next generation after this."""
    return end.move is Move.CONTINUE or end.anew


def outcome(end: End) -> Outcome:
    """Return what is remembered of a claim's end, to know its repeat by."""
    return Outcome(end.move, end.why, end.due_at, _hash(end.output), _hash(end.error), _hash(end.input))


def _hash(payload: Raw) -> bytes | None:
    raw = bytes(payload)
    return sha256(raw).digest() if raw else None
