"""Own what becomes of hand-overs that were not heard of: they are pushed again, or their runs are queued."""

from __future__ import annotations

from typing import Final

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aikid.engine.claims import take_back
from aikid.store.pool import Pool
from aikid.tell.handoffs import Handoffs
from aikid.tell.teller import Teller

AGAIN_SECONDS: Final = 0.5
"""While storage is away."""


class Reclaimer:
    """Takes runs back that were handed over to nobody. One that it cannot take waits for its worker's renewal."""

    every_seconds = 10.0
    suffers = "runs that were handed over wait for renewals"

    def __init__(self, pool: Pool, handoffs: Handoffs, teller: Teller) -> None:
        self._pool = pool
        self._handoffs = handoffs
        self._teller = teller
        self.alarm = handoffs.alarm

    async def run_once(self) -> None:
        """Push again what is due, and queue the runs of pushes without a receiver. Raises Unavailable."""
        self._handoffs.repeat()
        while (handed := self._handoffs.next_missed()) is not None:
            failpoint("handoff.before_release")
            try:
                changes = await take_back(self._pool, handed)
            except Unavailable:
                self._handoffs.miss(handed, again_in=AGAIN_SECONDS)
                raise
            await self._teller.tell_all(changes)
