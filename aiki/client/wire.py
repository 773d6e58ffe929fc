"""Own what a client needs of the wire: typed calls, and pushes to an inbox. The transport keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from aiki.core.errors import AikiError
from aiki.wire.messages import Request

R = TypeVar("R")


class Wire(Protocol):
    """A way to the daemon for one namespace."""

    namespace: str

    @property
    def room(self) -> int:
        """The bytes of a message."""
        ...

    @property
    def on_return(self) -> list[Callable[[], None]]:
        """What is called when the way is open again: what was pushed meanwhile is lost."""
        ...

    def check_loop(self) -> None:
        """Raise UsageError if no answer would ever come to the loop that is running."""
        ...

    async def call(self, request: Request[R], *, seconds: float = ...) -> R:
        """Return the daemon's reply. Raises the error it answers with, or Unavailable after `seconds`."""
        ...

    def unserved(self, error: AikiError) -> None:
        """Take note that somebody who repeats a call without end still waits."""
        ...

    async def inbox(self, on_message: Callable[[bytes], None]) -> str:
        """Return a private subject; whatever is pushed to it reaches `on_message`."""
        ...
