"""Own the words for how a claim ends: what is written of a body that is over, stuck, or beyond its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from aiki.core.errors import AikiError, UsageError
from aiki.core.states import Event
from aiki.execution.body import Body, Outcome
from aiki.execution.failures import encode_failure, failure_of
from aiki.wire.limits import ENTRIES_HARD, JOURNAL_BYTES_HARD
from aiki.wire.messages import End

if TYPE_CHECKING:
    from aiki.workflow import Workflow


def of_body(body: Body, workflow: Workflow[Any, Any]) -> End:
    """Return the end of a run whose body has ended. A result that does not fit its type fails the run."""
    if body.outcome is Outcome.DIVERGED:
        return blocked(body.diff)
    if body.error is not None:
        return failed(body.error)
    assert body.outcome is Outcome.RETURNED, body.outcome
    try:
        return End(Event.COMPLETE, output=Raw(workflow.result.encode(body.result)))
    except AikiError as error:
        return failed(error)


def failed(error: BaseException) -> End:
    """Return the end of a run that failed by `error`."""
    return End(Event.FAIL, error=Raw(encode_failure(failure_of(error))))


def blocked(why: str) -> End:
    """Return the end of a claim whose run needs a person."""
    return End(Event.DIVERGE, why=why)


def deadlock(lines: list[str]) -> UsageError:
    """Return the error of a body that waits, at `lines`, for what cannot come."""
    return UsageError(
        "the workflow body waits for something that can never come: it waits at " + "; ".join(lines),
        hint="wait for tasks, timers, or for what another branch of the same body does",
    )


def too_large(entries: int, size: int) -> UsageError:
    """Return the error of a run whose journal has outgrown its limits; `size` is in bytes."""
    return UsageError(
        f"the run's journal has {entries} entries and {size} bytes, which is more than a run may have"
        f" ({ENTRIES_HARD} entries, {JOURNAL_BYTES_HARD} bytes): split its work over several runs"
    )
