"""Own what an execution and its worker are to each other: a clock, durable writes and slots; and a run that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiki.wire.messages import Page, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki.core.errors import AikiError
    from aiki.execution.lease import Lease
    from aiki.wire.messages import Arrival, Claimed, Fence, InboxReply, PageReply, Recorded


class ClaimedRun(Protocol):
    """A run that is executed, as its host sees it. Every call is made on the worker's loop."""

    claimed: Claimed

    @property
    def fence(self) -> Fence:
        """What every write of the claim carries."""
        ...

    @property
    def lease(self) -> Lease:
        """The lease of the session by which it was claimed."""
        ...

    def on_page(self, page: PageReply) -> None:
        """Take in a page that was asked for."""
        ...

    def on_page_refused(self, error: AikiError) -> None:
        """Take in that nothing more can be brought of the journal, or of the inbox."""
        ...

    def on_news(self, number: int, came: Sequence[Arrival] = ()) -> None:
        """Take in that arrivals up to this number have come, or that something is wanted of the run.

        The last that `came` may be here, in order.
        """
        ...

    def on_inbox(self, reply: InboxReply) -> None:
        """Take in what was asked for by `read_inbox`."""
        ...

    def on_ends(self, reply: InboxReply) -> None:
        """Take in what was asked for by `read_ends`."""
        ...

    def on_recorded(self, recorded: Recorded) -> None:
        """Take in what became of the unit that was to be recorded."""
        ...

    def on_doubt(self) -> None:
        """Find out whether the run has ended without its worker."""
        ...

    def on_slot(self) -> None:
        """Go on after lingering."""
        ...

    def suspend(self) -> None:
        """Leave memory now, if the run lingers."""
        ...

    def drain(self) -> None:
        """Start no new try; end the claim once those that have begun have ended."""
        ...

    def stop(self) -> None:
        """Give the run up now."""
        ...

    def drop(self) -> None:
        """Forget the run without a word: the claim is lost."""
        ...


class Host(Protocol):
    """Implemented by the worker. Every call is made on the worker's loop, and none may block."""

    def now(self) -> int:
        """Return the database's time in microseconds. It runs back only where that was set back."""
        ...

    def seconds(self) -> float:
        """Return what a steady clock shows, by which slices of time are measured."""
        ...

    def room(self) -> int:
        """Return the bytes of a message to the daemon: outcomes that do not fit one cannot be recorded."""
        ...

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        """Write `unit`, repeating it until it is answered, then call `run.on_recorded`. One at a time."""
        ...

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        """Read on in the journal, then call `run.on_page` with what was read, or `on_page_refused`."""
        ...

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        """Read what has come to the run beyond number `after`, then call `run.on_inbox`. One at a time."""
        ...

    def read_ends(self, run: ClaimedRun, after: int) -> None:
        """Read the ends of children that the run's entries have taken, beyond number `after`; then call `run.on_ends`.

        Or `on_page_refused`.
        """
        ...

    def lingering(self, run: ClaimedRun) -> None:
        """Take the slot back: nothing in the run can move and no task of it runs here."""
        ...

    def wants_slot(self, run: ClaimedRun) -> None:
        """Give a slot to a run that lingered, now or later, by `run.on_slot`."""
        ...

    def ended(self, run: ClaimedRun) -> None:
        """Forget the run: its claim is over."""
        ...
