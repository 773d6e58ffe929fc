"""Own what a run in flight is known to have begun beside its journal, and what of that the code no longer asks for."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final
from uuid import UUID

from aiki.core import keys
from aiki.execution.kinds.apart import Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiki.execution.body import Body
    from aiki.execution.frontier import Frontier
    from aiki.replay.recording import Recording

_OPS: Final = (keys.SEND, keys.START, keys.STOP)
_MILLISECONDS: Final = 80
"""How far to the right the time stands in the id of an op."""


def unasked(recording: Recording, body: Body, frontier: Frontier) -> str | None:
    """Return what was begun and is no longer asked for, in words; None if nothing is known of that kind.

    A body that goes on without rest may yet ask for it. What was begun before a retry, the run may have cut off.
    """
    if frontier.is_spinning or body.history.first is not None:
        return None
    return next(chain(_tries(recording, frontier), _ops(recording, frontier)), None)


def _tries(recording: Recording, frontier: Frontier) -> Iterator[str]:
    """Yield the tasks that were tried, and have no outcome."""
    known = {entry.key for entry in recording.entries} | {call.key for call in frontier.asked}
    for row in recording.tries:
        if keys.is_task(row.key) and row.key not in known and row.key not in frontier.given_up:
            yield f"task {keys.name_of(row.key)} [{row.key}] was tried {_times(row.attempt)}"


def _ops(recording: Recording, frontier: Frontier) -> Iterator[str]:
    """Yield what was sent, started or told to end in this generation, and whose outcome nobody has taken.

    Of a call that the body has given up the outcome stays unread; only how many of these there are is known.
    """
    asked = {call.kind.id(call) for call in frontier.asked if isinstance(call.kind, Op)}
    since = recording.exported.run.started_at // 1_000
    left = [one for one in recording.unread if one.kind == "op" and one.name not in asked]
    left = [one for one in left if UUID(one.name).int >> _MILLISECONDS >= since]
    for one in left[sum(keys.kind_of(key) in _OPS for key in frontier.given_up) :]:
        yield f"an event was sent, or a child started or told to end ({one.name})"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
