"""Own how far the cancel of one body has come, and what is kept back from the body until it is interrupted.

A cancel is two entries. From the first on the body does not move: tries are told to end, and what they come to is
recorded and kept. The second interrupts it, once no try runs or their grace is over. Outcomes that moved the body
before would have its one interruption hit whatever line it has come to by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import Task

    from msgspec import Raw

    from aiki.execution.kind import DurableCall
    from aiki.execution.loop import RunLoop
    from aiki.wire.messages import Entry


class Tries(Protocol):
    """The tries of a run's tasks, as its cancel sees them."""

    def tell_to_end(self) -> None:
        """Have those that run end, each within its grace, and take back those that have not begun."""
        ...

    def may_be_left(self, now: int) -> bool:
        """Tell whether none of them runs any more, or their grace is over."""
        ...


class Cancelling:
    """The cancel of one body."""

    __slots__ = (
        *("_interrupt", "_kept", "entry", "has_kept", "is_interrupted", "is_under_way", "is_unwritten", "tries"),
    )

    def __init__(self, tries: Tries, interrupt: Callable[[], None]) -> None:
        """`interrupt` raises CancelledError where the body waits."""
        self.tries = tries
        self._interrupt = interrupt
        self.entry: Entry | None = None
        """Its first entry, once that is delivered."""
        self.is_under_way = False
        """The body is not to move before it is interrupted."""
        self.is_unwritten = False
        """Its first entry is not durable. Children that are started in its commit are told of it, and so would be those
        that take back what others did: nothing new is let go before."""
        self.is_interrupted = False
        self._kept: dict[DurableCall[Any], tuple[bool, bytes | Raw]] = {}
        self.has_kept = False
        """There is something that the interruption may not have reached."""

    def begin(self, entry: Entry) -> None:
        """Take in that the first entry is delivered: from now on nothing is let go."""
        self.entry = entry
        self.is_under_way = True
        self.tries.tell_to_end()

    def record(self, entry: Entry) -> None:
        """Take in that the first entry is delivered for the first time."""
        self.is_unwritten = True
        self.begin(entry)

    def written(self, entries: Iterable[Entry]) -> bool:
        """Take in that these entries are durable; tell whether that lets go what was held until then."""
        if not (self.is_unwritten and any(entry is self.entry for entry in entries)):
            return False
        self.is_unwritten = False
        return True

    def keep(self, call: DurableCall[Any], ok: bool, value: bytes | Raw) -> None:
        """Keep an outcome that is recorded."""
        self._kept[call] = ok, value

    def keeps(self, call: DurableCall[Any]) -> bool:
        """Tell whether the call has its outcome already."""
        return call in self._kept

    def interrupt(self) -> None:
        """Interrupt the body, for the first time and the last."""
        self.is_interrupted, self.is_under_way = True, False
        self.has_kept = bool(self._kept)
        self._interrupt()

    def release(self) -> list[tuple[DurableCall[Any], bool, bytes | Raw]]:
        """Return what was kept, for the calls that are open all the same: behind a shield, or in a task of its own."""
        kept, self._kept, self.has_kept = self._kept, {}, False
        return [(call, ok, value) for call, (ok, value) in kept.items()]

    def close(self) -> None:
        """Interrupt nothing any more, and let go of whose cancel this was."""
        self._interrupt = _nothing


def interrupt(main: Task[Any], loop: RunLoop) -> None:
    """Raise CancelledError where the main task waits."""
    main.cancel()
    # Taken back, lest groups and timeouts in its handlers take it for a cancellation of their own. From Python 3.13
    # on that takes back the error, too, of a task that is about to run: there it has to be raised first.
    if getattr(main, "_must_cancel", False):
        loop.call_soon(main.uncancel)
    else:
        main.uncancel()


def _nothing() -> None:
    """Do nothing: the body has left memory."""
