"""Own what a connection knows of daemons that do not answer, and how soon a call therefore asks again.

Of several daemons any may get a request; one that froze keeps its share until NATS notices. So after an attempt
without a reply all calls hurry for a while: their attempts are sent at short intervals, *beside* each other. Not in
place of each other: a daemon that is only slow would then never be in time, and be asked the more the slower it is. A
reply that comes after the next attempt was sent shows that it is so, and ends the hurry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from aiki.core.errors import Unavailable

R = TypeVar("R")

ATTEMPT_SECONDS: Final = 2.0
"""How long an attempt's reply is waited for."""
SHORT_ATTEMPT_SECONDS: Final = 0.5
"""How long after one attempt the next is sent, in a hurry."""
HURRY_SECONDS: Final = 30.0
_SHORTEST_SECONDS: Final = 0.1
_AT_FULL_SPEED: Final = 3
"""Attempts of a call after which the intervals grow."""


class Unanswered(Unavailable):
    """No reply came to an attempt. Whether it happened is unknown."""


class Unserved(Unavailable):
    """Nobody is there who would answer an attempt. Nothing happened."""


class Silence:
    """The memory of one connection. Times are monotonic."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def lasts(self) -> bool:
        """Whether somebody did not answer lately."""
        return time.monotonic() < self._until

    def met(self) -> None:
        """Take note of an attempt without a reply."""
        self._until = time.monotonic() + HURRY_SECONDS

    def broken(self) -> None:
        """Take note of a late reply: they are slow, not silent."""
        self._until = 0.0

    async def hurry(self, attempt: Callable[[float], Coroutine[Any, Any, R]], seconds: float) -> R:
        """Return the first reply to attempts at short intervals. `attempt` takes the seconds to wait for its own.

        Raises what that reply says, or Unanswered after `seconds`.
        """
        interval = min(SHORT_ATTEMPT_SECONDS, max(seconds / 4, _SHORTEST_SECONDS))
        deadline = time.monotonic() + seconds
        waiting: set[asyncio.Task[R]] = set()
        newest: asyncio.Task[R] | None = None
        silent: Unanswered | None = None
        sent = 0
        try:
            while waiting or silent is None:
                left = deadline - time.monotonic()
                if newest is None or left > interval / 2:
                    newest = asyncio.create_task(attempt(min(ATTEMPT_SECONDS, left)))
                    waiting.add(newest)
                    sent += 1
                # Who meets silence that often should not add to it: they may all be at their limit.
                pause = min(interval * 2 ** max(0, sent - _AT_FULL_SPEED), ATTEMPT_SECONDS)
                done, waiting = await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                # All are looked at: several may have been answered at once, and each with an error.
                errors = {one: one.exception() for one in done}
                for one, error in errors.items():
                    if not isinstance(error, Unanswered):
                        if one is not newest:
                            self.broken()
                        return one.result()
                    silent = error
            raise silent
        finally:
            for late in waiting:
                late.cancel()
