"""Own where a body stands that has gone as far as it goes: what of its record is left, and what it asks for beyond.

It is for whoever replays a run without effect, and wants to know how it would go on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from aiki.execution.calls import CallTable
    from aiki.execution.journal import Journal
    from aiki.execution.kind import DurableCall
    from aiki.execution.loop import RunLoop
    from aiki.wire.messages import Entry


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where a body stands."""

    left: Sequence[tuple[int, Entry]]
    """The entries that it has not been given, with their places in what counts of the journal, from 0."""
    asked: Sequence[DurableCall[Any]]
    """The calls that are open, and are not recorded."""
    given_up: Collection[str]
    """Keys of calls that it has given up before their outcomes came."""
    sleeps: bool
    """Whether a timer is set."""
    is_spinning: bool
    """Whether it would go on without any outcome."""
    lacks: str
    """What an entry has taken that cannot be read again; empty if nothing."""

    @classmethod
    def of(cls, calls: CallTable, journal: Journal, loop: RunLoop, *, lacks: str) -> Self:
        """Return where the body stands that these are of."""
        return cls(
            left=[*journal.unconsumed()],
            asked=[call for call in calls.asked() if call.key not in journal],
            given_up=calls.gone,
            sleeps=loop.timers.first() is not None,
            is_spinning=bool(loop.ready),
            lacks=lacks,
        )
