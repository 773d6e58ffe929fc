"""Own what an execution needs from its worker: a clock, durable writes and slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiki.wire.messages import Page, Unit

if TYPE_CHECKING:
    from aiki.execution.execution import Execution


class Host(Protocol):
    """Implemented by the worker. Every call is made on the worker's loop, and none may block."""

    def now(self) -> int:
        """Return the database's time in microseconds."""
        ...

    def seconds(self) -> float:
        """Return what a steady clock shows, by which slices of time are measured."""
        ...

    def record(self, execution: Execution, unit: Unit) -> None:
        """Write `unit`, repeating it until it is answered, then call `execution.on_recorded`. One at a time."""
        ...

    def room(self) -> int:
        """Return the bytes of a message to the daemon: outcomes that do not fit one cannot be recorded."""
        ...

    def fetch_page(self, execution: Execution, request: Page) -> None:
        """Read on in the journal, then call `execution.on_page` with what was read, or `on_page_refused`."""
        ...

    def lingering(self, execution: Execution) -> None:
        """Take the slot back: nothing in the run can move and no task of it runs here."""
        ...

    def wants_slot(self, execution: Execution) -> None:
        """Give a slot to a run that lingered, now or later, by `execution.on_slot`."""
        ...

    def ended(self, execution: Execution) -> None:
        """Forget the execution: its claim is over."""
        ...
