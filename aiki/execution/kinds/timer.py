"""The kinds `timer` and `until`: asked of the run's loop, whose timers are all durable, asyncio's own too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiki.core.keys import said_in
from aiki.core.moments import SECOND
from aiki.execution.kind import Asker
from aiki.inside.workflow_run import Sleep, SleepUntil
from aiki.wire.messages import Entry


class Timers:
    """Waits of some length."""

    at_once = False
    may_stay_unasked = False

    def ask(self, body: Asker, ask: Sleep, /) -> Coroutine[Any, Any, None]:
        """Wait as `asyncio.sleep` does in a body."""
        return asyncio.sleep(ask.microseconds / SECOND)

    def recorded(self, entry: Entry, /) -> str:
        """Return the timer's length."""
        return f"a timer of {said_in(entry.key)} s"


class Dates:
    """Waits for a date."""

    at_once = False
    may_stay_unasked = False

    async def ask(self, body: Asker, ask: SleepUntil, /) -> None:
        """Wait on a timer that keeps its date, however late it is asked for."""
        future: asyncio.Future[None] = asyncio.Future(loop=body.loop)
        timer = body.loop.call_until(ask.microseconds, _set_result_unless_cancelled, future)
        try:
            await future
        finally:
            timer.cancel()

    def recorded(self, entry: Entry, /) -> str:
        """Return the timer's date."""
        return f"a timer until {said_in(entry.key)} µs"


def _set_result_unless_cancelled(future: asyncio.Future[None]) -> None:
    """Do what asyncio's function of this name does: so the loop knows that somebody sleeps."""
    if not future.done():
        future.set_result(None)
