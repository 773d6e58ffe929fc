"""Own how the end of a body on the code at hand is held against the one that is recorded of its run."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from aiki.core.canonical import canonical
from aiki.core.errors import PayloadError, RunTimedOut
from aiki.core.states import Move, State, target
from aiki.definitions import stored
from aiki.execution.ends import deadlocked, of_body
from aiki.execution.failures import failure_of
from aiki.execution.outcome import Outcome
from aiki.wire.limits import MESSAGE_BYTES

if TYPE_CHECKING:
    from msgspec import Raw

    from aiki.definitions.workflow import Workflow
    from aiki.execution.body import Body
    from aiki.wire.messages import End, Failure
    from aiki.wire.messages.exports import Exported

_UNDONE: Final = "without compensation"
"""In the reason of a run that has ended though its body had not."""
_STOPPED: Final = ("the run's journal has ", "what the run recorded was refused: ", "the workflow body waits for ")
"""How the errors begin that fail a run wherever its body stands, or that tell its lines."""
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{6,}")
_READERS: Final = {
    *((f"aiki.execution.kinds.{kind}", "settle") for kind in ("task", "event", "end")),
    ("aiki.inside.child", "_read"),
}
"""What gives a body a recorded value."""
_SHOWN_CHARS: Final = 120
_CAUSES: Final = 20


def end_of(body: Body, workflow: Workflow[..., Any]) -> End | None:
    """Return how the run would end by what its body has come to; None if the body rests, and something can move it."""
    if body.outcome is not Outcome.RUNNING:
        return of_body(body, workflow, room=MESSAGE_BYTES)
    return deadlocked(body) if body.is_deadlocked() else None


def has_ended_without_body(run: Exported, body: Body) -> bool:
    """Tell whether the run was ended from outside, or failed where its body stood: then that need not have ended."""
    error = stored.read_failure(run.error)
    if error is not None and error.message.startswith(_STOPPED):
        return True
    if _UNDONE in f"{run.why or ''} {error.message if error is not None else ''}":
        return True
    is_told = run.state is State.CANCELLED or (error is not None and error.type == RunTimedOut.__name__)
    return is_told and body.interrupted_by is None


def difference(run: Exported, end: End) -> str:
    """Return in which way a run that has ended would end otherwise; empty if it would end as it did."""
    if end.move is Move.CONTINUE:
        return f"it is {run.state}, and would now go on in its next generation"
    state = target(end.move)
    if state is not run.state:
        return f"it is {run.state}, and would now be {_told(state, end)}"
    match state:
        case State.COMPLETED:
            return (
                ""
                if _form(end.output) == _form(run.output)
                else f"it has come to {_cut(run.output)}, and would now come to {_cut(end.output)}"
            )
        case State.FAILED:
            before, now = stored.read_failure(run.error), stored.read_failure(end.error)
            return (
                "" if _are_alike(before, now) else f"it has failed by {_named(before)}, and would now by {_named(now)}"
            )
    return ""


def told(end: End) -> str:
    """Return how a run would end, in words."""
    return "it would go on in its next generation" if end.move is Move.CONTINUE else _told(target(end.move), end)


def missing_module(error: BaseException | None) -> str | None:
    """Return which module an error is about that could not be imported; None if it is about none."""
    found = next((one for one in _causes(error) if isinstance(one, ImportError)), None)
    return None if found is None else failure_of(found).message


def is_of_record(error: BaseException) -> bool:
    """Tell whether an error was raised by the reading of what is recorded."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any((frame.f_globals.get("__name__"), frame.f_code.co_name) in _READERS for frame in frames)


def _told(state: State, end: End) -> str:
    match state:
        case State.COMPLETED:
            return f"{state} with {_cut(end.output)}"
        case State.FAILED:
            return f"{state} by {_named(stored.read_failure(end.error))}"
    return str(state)


def _form(output: Raw) -> bytes:
    """Return a result in the one form that equal ones have; as it is, if it has none."""
    try:
        return canonical(stored.read(output))
    except PayloadError:
        return bytes(output)


def _are_alike(before: Failure | None, now: Failure | None) -> bool:
    if before is None or now is None or before.type != now.type:
        return before is now
    if before.message.startswith(_STOPPED):
        return True
    return _ADDRESS.sub("", before.message) == _ADDRESS.sub("", now.message)


def _named(failure: Failure | None) -> str:
    return "no error" if failure is None else _cut(f"{failure.type}: {failure.message}".encode())


def _cut(value: Raw | bytes) -> str:
    text = bytes(value).decode(errors="replace")
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
