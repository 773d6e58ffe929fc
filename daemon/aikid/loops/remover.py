"""Own the deletion of ended runs whose time is over, at a pace that others do not feel.

After each step it rests: for as long as that took while nobody else asks Postgres for much, and for many times as long
while others do. So a daemon under full load spends a twentieth of one connection on it, and an idle one half.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aikid.engine.expiring import Expiry, Terms
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm

_BUSY: Final = 50.0
"""Statements of others in a second from which on this daemon has much to do; its own loops ask for some ten."""
_RESTS: Final = {False: 1.0, True: 19.0}
"""How many times as long as a step took it rests after it."""
_LONGEST: Final = 5.0
_STEP: Final = 0.5
"""What stays for now, for the sake of others or since it ended late, is walked by at a leisurely pace."""


class Remover:
    """Deletes runs that have been kept for as long as their workflow, or this daemon, says."""

    every_seconds = 60.0
    suffers = "ended runs stay longer than they are kept"

    def __init__(self, pool: Pool, terms: Terms) -> None:
        self._pool = pool
        self._expiry = Expiry(terms)
        self._looked_at = 0.0
        self._lent = 0
        self.alarm = Alarm()

    @property
    def is_over(self) -> bool:
        """Whether the last step has come to the end of all there is."""
        return self._expiry.is_over

    async def run_once(self) -> int:
        """Take one step, and return how many runs were deleted. Raises Unavailable."""
        began = asyncio.get_running_loop().time()
        is_busy = self._is_busy(began)
        deleted = await self._expiry.step(self._pool)
        now = asyncio.get_running_loop().time()
        self._looked_at, self._lent = now, self._pool.lent
        if not self.is_over:
            rest = min((now - began) * _RESTS[is_busy], _LONGEST)
            self.alarm.due_in(rest if deleted or self._expiry.has_found else max(rest, _STEP))
        return deleted

    def _is_busy(self, now: float) -> bool:
        """Tell whether others have asked Postgres for much since the last step."""
        return self._pool.lent - self._lent > _BUSY * (now - self._looked_at)
