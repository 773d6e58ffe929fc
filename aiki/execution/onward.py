"""Own how a body ends its generation, from wherever in it that is said, and when it may not.

The call raises what no `except Exception` catches, and marks the body. From the main task that passes through its
`finally` blocks, which may run tasks as at any end; what goes wrong there fails the run. What a branch has raised is
handed on by `gather` and groups; whoever else waits is interrupted by a CancelledError, once that branch is over, since
nobody may ever look at it.
"""

from __future__ import annotations

import sys
from asyncio import CancelledError, Task
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from aiki.core.errors import UsageError
from aiki.core.finals import line_in_finally
from aiki.execution.loop import RunLoop

if TYPE_CHECKING:
    from aiki.execution.kind import DurableCall
    from aiki.inside.onward import Next

_SHOWN: Final = 5


class Onward(BaseException):
    """The body's generation has ended."""


def is_end(error: BaseException | None) -> bool:
    """Tell whether a body that has said so has ended by it: nothing else has gone wrong on the way."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_end, error.exceptions))
    return error is None or isinstance(error, Onward | CancelledError)


def hears(main: Task[Any]) -> bool:
    """Tell whether the main task is over, or what it waits for hands on to it what a branch has raised."""
    waiter = getattr(main, "_fut_waiter", None)
    handed_on = waiter is not None and waiter.done() and (waiter.cancelled() or waiter.exception() is not None)
    return main.done() or handed_on


def check(next: Next, still_open: Iterable[DurableCall[Any]], *, is_interrupted: bool) -> None:
    """Raise UsageError if the body may not go on from where it is."""
    if is_interrupted:
        raise UsageError(
            f"{next.called} was called in a run that is cancelled: it ends, and has no next generation",
            hint="take back what the run did, and let its body end",
        )
    here = sys._getframe(1)  # noqa: SLF001 - documented, and the only way to see from where
    if (line := line_in_finally(here, outermost=RunLoop.run_ready.__code__)) is not None:
        raise UsageError(
            f"{next.called} was called in a `finally`, at {line}: whatever the body has come to would be lost",
            hint="call it where the body would return, or in an `except` of the error that it is to go on after",
        )
    if left := [call.kind.asked(call) for call in still_open]:
        more = f", and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        raise UsageError(
            f"{next.called} was called while this has not ended: {', '.join(left[:_SHOWN])}{more};"
            " nobody could hear of it any more",
            hint="await it first, or cancel the branch that waits for it",
        )
