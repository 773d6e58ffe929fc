"""Own how what has come of a run becomes a state: by which moves a claim may end, and where each leads. Pure."""

from __future__ import annotations

from typing import Final

from aiki.core.states import Move, State, sources, target

ENDS: Final = frozenset(move for move in Move if State.RUNNING in sources(move)) - {
    Move.RESCUE,
    Move.BACK_OFF,
    Move.CRASH_LOOP,
}
"""How a claim may end: what happens to a running run, but for what only the loss of a lease does."""
PARKING: Final = frozenset(move for move in ENDS if target(move) in sources(Move.DUE))
"""Ends after which the run goes on at `due_at`."""
