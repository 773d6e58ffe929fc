"""Own what an execution needs from its worker: a clock, durable writes and slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiki.wire.messages import Unit

if TYPE_CHECKING:
    from aiki.execution.execution import Execution


class Host(Protocol):
    """Implemented by the worker. Every call is made on the worker's loop, and none may block."""

    def now(self) -> int:
        """Return the database's time in microseconds."""
        ...

    def record(self, execution: Execution, unit: Unit) -> None:
        """Write `unit`, repeating it until it is answered, then call `execution.on_recorded`. One at a time."""
        ...

    def fetch_page(self, execution: Execution, after: int) -> None:
        """Read the journal from entry `after`, then call `execution.on_page` with what was read."""
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
