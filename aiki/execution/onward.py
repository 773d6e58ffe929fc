"""Own how a body ends its generation, from wherever in it that is said, and when it may not.

The call marks the body, and raises what asyncio lets out of its loop, in the main task and in branches alike: nothing
of the body runs any more, whatever it catches, and no branch has to hand it on. It leaves memory then as one that is
suspended does: `finally` blocks run, and durable calls in them do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from aiki.core.errors import UsageError
from aiki.core.finals import line_in_finally
from aiki.execution.loop import RunLoop

if TYPE_CHECKING:
    from aiki.execution.kind import DurableCall
    from aiki.inside.onward import Next

_SHOWN: Final = 5


class Onward(SystemExit):
    """The body's generation has ended: of all errors asyncio lets this one, as its base, out of the loop at once."""


def check(next: Next, frame: FrameType, still_open: Iterable[DurableCall[Any]], *, is_interrupted: bool) -> None:
    """Raise UsageError if the body may not go on from where `frame` is."""
    if is_interrupted:
        raise UsageError(
            f"{next.called} was called in a run that is cancelled: it ends, and has no next generation",
            hint="take back what the run did, and let its body end",
        )
    if (line := line_in_finally(frame, outermost=RunLoop.run_ready.__code__)) is not None:
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
