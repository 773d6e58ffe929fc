"""Own the look at a run that stands in memory: what a person is told who asks why it does not move. It changes nothing.

Of what calls were made with, and have come to, nothing is said: whoever may ask may not read all of that.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from aiki.core.states import Move
from aiki.execution.phases import Phase
from aiki.execution.unwinding import waiting_lines
from aiki.wire.codec import decoder
from aiki.wire.limits import LOOKED_ITEMS, PROGRESS_CHARS, TEXT_CHARS
from aiki.wire.messages import Looked, LookedTry, Said

if TYPE_CHECKING:
    from aiki.execution.body import Body
    from aiki.execution.phases import Lifecycle
    from aiki.execution.resting import Wake
    from aiki.execution.tasks.attempts import Attempts
    from aiki.execution.tasks.started import Started


def look(
    life: Lifecycle, body: Body | None, attempts: Attempts, wake: Wake | None, now: int, *, items: int = LOOKED_ITEMS
) -> Looked:
    """Return what stands of a run; of many tries and calls the first `items`, and of branches."""
    looked = Looked(now, phase=life.phase.value, running=attempts.running)
    looked.tries = [_tried(one, now) for one in islice(attempts.trying(), items)]
    looked.held_back = _held_back(life, body, attempts)
    if wake is not None:
        looked.wakes_at = wake.at
        if life.phase is Phase.LINGERING and wake.move is Move.WAIT:
            looked.lingers_since = wake.since
    if body is not None:
        calls = body.open_calls
        looked.waiting = len(calls)
        looked.calls = [key[:TEXT_CHARS] for key in islice(calls, items)]
        looked.lines = [line[:TEXT_CHARS] for line in waiting_lines(body.loop, LOOKED_ITEMS)]
    return looked


def _tried(started: Started, now: int) -> LookedTry:
    call, signs = started.call, started.signs
    tried = LookedTry(call.key[:TEXT_CHARS], call.ask.task.name, started.number, call.started_at)
    if signs.stamp:
        age = max(0, time.monotonic_ns() - signs.stamp) // 1_000
        # The clocks are read one after the other: whoever is held up between them takes the sign for too old.
        tried.spoke_at = max(tried.started or 0, now - age)
        if (said := _said(signs.said)) is not None:
            tried.fraction, tried.message = said.fraction, said.message[:PROGRESS_CHARS]
    return tried


def _said(raw: bytes | None) -> Said | None:
    try:
        return None if raw is None else decoder(Said).decode(raw)
    except msgspec.MsgspecError:
        return None


def _held_back(life: Lifecycle, body: Body | None, attempts: Attempts) -> str | None:
    """Return why what is ready does not go on; None if nothing keeps it."""
    match life.phase:
        case Phase.READING:
            return "its journal is being read"
        case Phase.RETURNING:
            return "all slots of its worker are taken"
        case Phase.ENDING:
            return "the end of its claim is being recorded"
        case _:
            pass
    if life.draining:
        return "its worker drains"
    if attempts.uncertain and attempts.waiting:
        return "its worker is not certain of its lease"
    if attempts.waiting or (body is not None and body.awaits_commit):
        return "what it has come to is being recorded"
    return None
