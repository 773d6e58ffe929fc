"""Own what a durable call is to a body: what is asked for, as a value, and the Protocol of who answers it.

The answer has the type that the ask names, so nobody needs a cast. How it is come by is not told here: each kind of
call has a file of its own in `aiki.execution.kinds`.
"""

from __future__ import annotations

from typing import ClassVar, Generic, NoReturn, Protocol, TypeVar

from msgspec import Raw, Struct

from aiki.core.errors import UsageError
from aiki.inside.onward import JournalSize, Next

R = TypeVar("R")


class Ask(Struct, Generic[R], eq=False):
    """The base of all that a body can ask for; `R` is what it gets for it: an awaitable, or the answer itself.

    `str()` of it names the function that the user has called.
    """

    kind: ClassVar[str]
    """The word of the kind of call, with which its keys begin."""


class Durable(Protocol):
    """What a run and its tasks need of the execution behind them. Everything here is the same on replay."""

    def ask(self, ask: Ask[R], /) -> R:
        """Ask for something durable. Raises UsageError outside of the body that it is."""
        ...

    def now(self) -> int:
        """Return the time of the last delivery, in microseconds since the epoch."""
        ...

    def run_id(self) -> str:
        """Return the run's id: after a retry that of the new run, from where it goes on."""
        ...

    def attempt(self) -> int:
        """Return the attempt of the workflow itself, which a retry raises from where it goes on."""
        ...

    def replaying(self) -> bool:
        """Tell whether the body is still doing what it did before in another process."""
        ...

    def show(self, said: Raw, /) -> None:
        """Have people see this `Said` of the run from now on. Raises UsageError outside of its body."""
        ...

    def go_on(self, next: Next, /) -> NoReturn:
        """End the body, and have its run go on so. Raises UsageError where that cannot be."""
        ...

    def journal_size(self) -> JournalSize:
        """Return how much has been delivered to the body."""
        ...

    def require_inside(self, what: str) -> None:
        """Raise UsageError, about `what`, in another run's body, in a task, in a thread and after the run."""
        ...


def outside(what: str) -> UsageError:
    """Return the error of a durable call that was made elsewhere than in the body that it is of."""
    return UsageError(
        f"{what} was called outside of the body of its workflow",
        hint="call it in the workflow's own function, or in an `async def` that this awaits, and hand on what it"
        " returns",
    )
