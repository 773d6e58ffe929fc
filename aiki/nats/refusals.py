"""Own what the servers refuse us now, and since when: only a person can change that, so it must not go on unseen."""

from __future__ import annotations

import asyncio
import time


class Refusals:
    """What is refused: our credentials, a subscription, the subject of a request."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, str, str]] = {}
        """By what is refused: since when, and the server's first and last words for it."""
        self._began = asyncio.Event()
        self._over = asyncio.Event()
        self._over.set()

    def __bool__(self) -> bool:
        """Tell whether anything is refused."""
        return bool(self._since)

    def begin(self, what: str, reason: str) -> None:
        """Take note that `what` is refused; if it was before, it still is."""
        since, first, _ = self._since.get(what, (time.monotonic(), reason, ""))
        self._since[what] = since, first, reason
        self._began.set()
        self._over.clear()

    def end(self, what: str) -> None:
        """Take note that `what` is granted."""
        self._since.pop(what, None)
        self._tell_if_over()

    def clear(self) -> None:
        """Forget all: nobody is there who could refuse."""
        self._since.clear()
        self._tell_if_over()

    async def over(self) -> None:
        """Return when nothing is refused."""
        await self._over.wait()

    async def lasting(self, seconds: float) -> str:
        """Return why, once something has been refused for so long on end: how it began, and what is said now."""
        while True:
            self._began.clear()
            if not self._since:
                await self._began.wait()
            since, first, last = min(self._since.values())
            left = since + seconds - time.monotonic()
            if left <= 0:
                # Only the first words tell of an expiry: who comes back with what has expired hears of a violation.
                return first if first == last else f"{first}, and now {last}"
            await asyncio.sleep(left)

    def _tell_if_over(self) -> None:
        if not self._since:
            self._over.set()
