"""Own what kinds have in common whose outcome is an arrival: those apart from children's ends, and ops among them.

An op travels in the next unit, with an id that is derived from its call; what became of it is an arrival of that name.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, Generic

from msgspec import Raw

from aiki.execution.arrivals import Arrivals
from aiki.execution.kind import A, DurableCall, Outside, Parent
from aiki.wire.messages import Arrival

_OP: Final = "op"


class Apart(Generic[A]):
    """A kind that has nothing to do with how children end: a cancel interrupts its waits."""

    at_once = False
    may_stay_unasked = False
    through_cancel = False

    def child(self, ask: A, /) -> str | None:
        """Return None: it waits for no child."""
        return None

    def took(self, call: DurableCall[A], ok: bool, value: bytes | Raw, family: Parent | None, /) -> bool:
        """Return True: what is recorded says it all."""
        return True

    def ends_wanted(self, call: DurableCall[A], arrivals: Arrivals, /) -> int | None:
        """Return None: it waits for no child."""
        return None

    def holds_cancel(self, call: DurableCall[A], arrivals: Arrivals, /) -> bool:
        """Return False: its wait is interrupted."""
        return False


class Op(Apart[A]):
    """A kind that is carried out by the unit that it travels in."""

    @abstractmethod
    def id(self, call: DurableCall[A], /) -> str:
        """Return the id of the op."""

    def abandon(self, call: DurableCall[A], outside: Outside) -> None:
        """Do nothing: what is done is done."""

    def timeout(self, ask: A, /) -> int | None:
        """Return None: its outcome comes with the unit that carries it out."""
        return None

    def waits(self, ask: A, /) -> list[str]:
        """Return that outcomes of ops are waited for."""
        return [_OP]

    def arrived(self, call: DurableCall[A], arrivals: Arrivals, /) -> list[Arrival] | None:
        """Return the outcome of the op."""
        outcome = arrivals.outcome(self.id(call))
        return None if outcome is None else [outcome]
