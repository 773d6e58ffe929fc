"""Own what is told of a run that is watched, in words: a change of it in a line, its calls, why it does not move. Pure.

It needs nothing that draws: scripts that wait are told in lines.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiki import RunStatus
from aiki.definitions.view import CallState, CallView, RunView
from aiki_cli.view.clock import countdown, ticking
from aiki_cli.view.runs import summary
from aiki_cli.view.text import one_line, to_json

_TOLD_CALLS: Final = 3
_TASK: Final = "task"
_NAMES: Final = {"timer": "sleep", "until": "sleep", "start": "child", "starts": "children", "end": "child"}
"""What people call the kinds of calls, where that is another word."""
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def told(before: RunView | None, view: RunView, now: datetime) -> str | None:
    """Return a change in a line: of the state, of calls, of why it does not move; None if it has brought nothing new.

    `before` is how the run was when this was asked last.
    """
    run, was = view.status, None if before is None else before.status
    changed = _changed(before, view)
    calls = [of_call(call, now) for call in changed[-_TOLD_CALLS:]]
    if len(changed) > _TOLD_CALLS:
        calls.insert(0, f"{len(changed) - _TOLD_CALLS:,} other calls changed")
    is_new = was is None or was.state != run.state
    said = [one_line(f"{run.workflow} {run.version}")] if is_new else []
    if run.why and (is_new or not calls) and (was is None or _timeless(was.why) != _timeless(run.why)):
        said.append(one_line(run.why))
    said += calls
    if run.ended and run.error is not None:
        said.append(one_line(f"{run.error.type}: {run.error.message}"))
    if was is not None and was.details != run.details:
        said.append(one_line(f"details {to_json(run.details)}"))
    return f"{one_line(run.run_id)} {run.state}: {'; '.join(said)}" if said else None


def of_call(call: CallView, now: datetime) -> str:
    """Return how a call stands: `task charge failed at attempt 2, again in 4 s: TimeoutError: no answer`."""
    what = f"{f'{_TASK} ' if call.kind == _TASK else ''}{name(call)}"
    error = f": {one_line(call.error)}" if call.error else ""
    match call.state:
        case CallState.RETRYING:
            again = f", again {countdown(call.next_at, now)}" if call.next_at else ""
            return f"{what} failed at attempt {call.attempt}{again}{error}"
        case CallState.RUNNING:
            attempt = f" (attempt {call.attempt})" if call.attempt > 1 else ""
            far = "" if call.fraction is None else f", {call.fraction:.0%} {one_line(call.message)}".rstrip()
            return f"{what} runs{attempt}{far}"
        case CallState.WAITING:
            return f"{what} waits"
        case _:
            return f"{what} {call.state}{error}"


def name(call: CallView) -> str:
    """Return what a call is called: its own name, and what it is if it is no task."""
    said = one_line(call.name)
    if call.kind == _TASK:
        return said or _TASK
    return f"{_NAMES.get(call.kind, one_line(call.kind))} {said}".rstrip()


def note(run: RunStatus, now: datetime) -> str:
    """Return what matters most of a run that stands in a line among others."""
    if run.is_explained and run.why and not run.ended:
        return one_line(ticking(run.why, now))
    return one_line(summary(run, now))


def _changed(before: RunView | None, view: RunView) -> list[CallView]:
    """Return the calls that stand otherwise than before."""
    known = {} if before is None else {call.key: _standing(call) for call in before.calls}
    return [call for call in view.calls if known.get(call.key) != _standing(call)]


def _standing(call: CallView) -> tuple[object, ...]:
    return call.state, call.attempt, call.fraction, call.message


def _timeless(sentence: str | None) -> str:
    """Return a sentence without what ticks in it."""
    return ticking(sentence or "", _EPOCH)
