"""Own what a workflow needs to be enqueued: somebody who takes its calls and gives handles of their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from aiki.definitions.call import Call
    from aiki.definitions.handle import Handle
    from aiki.payload import Result

R = TypeVar("R")


class Enqueuer(Protocol):
    """What takes calls, and gives handles of their runs: a client."""

    async def enqueue(self, call: Call[R], /) -> Handle[R]:
        """Enqueue one run; it is stored when this returns."""
        ...

    def handle(self, run_id: str, /, *, result: Result | None = None) -> Handle[Any]:
        """Return a handle of a run by its id."""
        ...
