"""Own the words for what a run waits for that rests, and for what a test may do about it. Pure."""

from __future__ import annotations

from typing import Final

from aiki.core.moments import to_datetime
from aiki.core.states import State
from aiki.wire.messages import RunStatus

_EVENT: Final = "event:"
_CHILD: Final = "child"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MILLI: Final = 1_000


def waits_for(run: RunStatus) -> str:
    """Return what a run waits for, to follow its id."""
    events = _events(run)
    match run.state:
        case State.QUEUED:
            return f"is queued, and no workflow {run.workflow!r} version {run.version!r} is known here to run it"
        case State.SCHEDULED:
            what = "begins"
        case State.SLEEPING:
            what = "sleeps"
        case State.RETRYING:
            what = "is to be tried again"
        case State.RUNNING:
            what = "runs a task that takes its time by the test's clock"
        case _ if events:
            what = f"waits for event {' or '.join(map(repr, events))}"
        case _ if waits_for_child(run):
            what = "waits for a child"
        case _:
            what = "waits"
    if run.due_at is None:
        return what
    until = "at" if run.state in (State.SCHEDULED, State.RETRYING) else "until"
    return f"{what} {until} {to_datetime(run.due_at).isoformat(sep=' ')}" + (f" ({run.why})" if run.why else "")


def waits_for_child(run: RunStatus) -> bool:
    """Tell whether a run rests until a child of it has ended."""
    return run.state is State.WAITING and _CHILD in run.waits


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
