"""Own when errands are done: as soon as this daemon leaves one, and now and then those of daemons that died."""

from __future__ import annotations

from aikid.engine import errands
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm
from aikid.tell.teller import Teller


class Families:
    """Tells parents of ends, and children that they are to end."""

    every_seconds = 1.0
    suffers = "ends of children are not told"

    def __init__(self, pool: Pool, teller: Teller, alarm: Alarm) -> None:
        self._pool = pool
        self._teller = teller
        self.alarm = alarm

    async def run_once(self) -> None:
        """Do all errands. Raises Unavailable."""
        async for changes in errands.do(self._pool):
            await self._teller.tell_all(changes)
