"""Own what a test is told of a run that rests: why it does not move, and what the test may do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core import why as words
from aiki.core.reasons import Reason
from aiki.core.states import State
from aiki.wire.messages import Explained, RunStatus

_EVENT: Final = "event:"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MILLI: Final = 1_000


def waits_for(run: RunStatus, why: Explained, last: RunStatus, now: int) -> str:
    """Return why a run does not move, to follow its id; `last` is the run in which that ends, if it is another one."""
    if last.id == run.id:
        return _rests(run, why.reasons, now)
    return words.joined(why.reasons, _rests(last, why.leaf, now), now, leaf_run=last.id)


def _rests(run: RunStatus, reasons: Sequence[Reason], now: int) -> str:
    """Return why one run does not move: in a test's words where it is the test that has to move."""
    match run.state:
        case State.QUEUED:
            return f"is queued, and no workflow {run.workflow!r} version {run.version!r} is known here to run it"
        case State.RUNNING:
            return "runs a task that takes its time by the test's clock"
        case _:
            return words.sentence(reasons, now)


def remedy(run: RunStatus, now: int, *, due_at: int | None) -> str:
    """Return what to type so that the run goes on; `due_at` is when anything at all happens next by itself."""
    events = _events(run)
    at = due_at if run.due_at is None else run.due_at
    if run.state is State.QUEUED:
        return f"TestEnv(workflows=[{run.workflow.replace('-', '_')}, ...])"
    if events:
        sent = f"await handle.send({events[0].replace('-', '_')}, ...)"
        return sent if run.due_at is None else f'{sent}, or await env.advance("{span(run.due_at - now)}")'
    return "nothing here wakes it: send it an event, or cancel it" if at is None else _advance(at - now)


def span(microseconds: int) -> str:
    """Return a duration as text, as `advance` takes it: rounded up to a millisecond."""
    milliseconds = max(0, -(-microseconds // _MILLI))
    seconds, milliseconds = divmod(milliseconds, _MILLI)
    text = ""
    for length, unit in _UNITS:
        number, seconds = divmod(seconds, length)
        text += f"{number}{unit}" if number else ""
    text += f"{milliseconds}ms" if milliseconds else ""
    return text or "0s"


def _events(run: RunStatus) -> list[str]:
    return [word.removeprefix(_EVENT) for word in run.waits if word.startswith(_EVENT)]


def _advance(microseconds: int) -> str:
    return f'await env.advance("{span(microseconds)}")'
