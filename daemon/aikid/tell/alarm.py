"""Own the earliest due time that this daemon knows.

Its clock only says when to look; whether anything is due by then, the database's says.
"""

from __future__ import annotations

import asyncio
import math


class Alarm:
    """When somebody must look next. Whoever knows of an earlier time says so, also during a look: none is missed."""

    __slots__ = ("_at", "_earlier")

    def __init__(self) -> None:
        self._at = -math.inf  # the first look is at once
        self._earlier = asyncio.Event()

    def due_in(self, seconds: float) -> None:
        """Take note that something is due in so many seconds."""
        at = asyncio.get_running_loop().time() + max(seconds, 0.0)
        if at < self._at:
            self._at = at
            self._earlier.set()

    def ring(self) -> None:
        """Let it be looked at once."""
        self.due_in(0.0)

    def forget(self) -> None:
        """Forget what was known: a look begins, which finds it."""
        self._at = math.inf

    async def wait(self) -> None:
        """Return when the time has come."""
        loop = asyncio.get_running_loop()
        while (left := self._at - loop.time()) > 0:
            self._earlier.clear()
            try:
                # wait_for() would swallow a cancellation that comes with the alarm (Python 3.11, bpo-37658).
                async with asyncio.timeout(left):
                    await self._earlier.wait()
            except TimeoutError:
                return
