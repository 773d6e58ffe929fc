"""Own what becomes of what has reached a run when that goes on: as another run, in its next generation, or again. Pure.

What an entry that still counts has taken stays taken. All else is to be read again, in its order, by whoever goes on;
but for what only those have asked for who are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiki.rules.arriving import CHILD, EVENT, KEY, OP

ANSWERS: Final = frozenset({OP, CHILD, KEY})
"""What a generation has asked for itself: of no use to the next."""


class Lot(StrEnum):
    """What becomes of an arrival."""

    STAYS = "stays"
    """As it was, with the run that goes on."""
    UNREAD = "unread"
    """It is to be read again, or still."""
    SETTLED = "settled"
    """Nobody reads it any more: the generation that was left has taken it."""
    GONE = "gone"
    """It is as if it had never come: it will come again."""
    LEFT = "left"
    """It stays with the run that is over."""


@dataclass(frozen=True, slots=True)
class Came:
    """An arrival: its kind, and the generation and number of the entry that has taken it, if one has."""

    kind: str
    taken: tuple[int, int] | None = None


def counts(came: Came, *, generation: int, kept: Sequence[tuple[int, int]]) -> bool:
    """Tell whether an arrival stays taken by a run whose `generation` goes on with the entries of these stretches."""
    if came.taken is None:
        return False
    in_which, seq = came.taken
    return in_which != generation or any(first <= seq <= last for first, last in kept)


def onward(came: Came) -> Lot:
    """Return what becomes of an arrival of a run that goes on as new."""
    return Lot.SETTLED if came.taken is None and came.kind in ANSWERS else Lot.STAYS


def anew(came: Came, *, generation: int) -> Lot:
    """Return what becomes of an arrival of a run that begins anew by its own rule, and leaves `generation`."""
    is_back = came.kind == EVENT and came.taken is not None and came.taken[0] == generation
    return Lot.UNREAD if is_back else onward(came)


def again(came: Came, *, generation: int, kept: Sequence[tuple[int, int]], is_awaited: bool) -> Lot:
    """Return what becomes of an arrival of a run that goes on from its failure by its own rule.

    `is_awaited` tells of the end of a child that the run waits for.
    """
    if came.kind == CHILD:
        return Lot.GONE if is_awaited else Lot.STAYS
    is_back = came.kind in (EVENT, OP) and came.taken is not None
    return Lot.UNREAD if is_back and not counts(came, generation=generation, kept=kept) else Lot.STAYS


def succeeded(came: Came, *, generation: int, kept: Sequence[tuple[int, int]], anew: bool) -> Lot:
    """Return what becomes of an arrival of a run in whose place another one goes on; `anew` if in a new generation."""
    if came.kind not in (EVENT, OP, CHILD) or (anew and came.kind != EVENT):
        return Lot.LEFT
    if counts(came, generation=generation, kept=kept):
        return Lot.STAYS
    return Lot.GONE if came.kind == CHILD else Lot.UNREAD
