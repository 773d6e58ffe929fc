"""Own when schedules fire: at the earliest time that this daemon knows, of which its own commits tell it.

Other daemons' schedules are theirs; if one dies, they are found within a second.
"""

from __future__ import annotations

import itertools
from typing import Final

from aiki.core.failpoints import failpoint
from aikid.bus import Bus
from aikid.engine import firing
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm
from aikid.tell.teller import Teller

_WAITING_EVERY: Final = 60
"""Looks, of which one comes each second at least."""


class Scheduler:
    """Fires the schedules that are due."""

    every_seconds = 1.0
    suffers = "schedules do not fire"

    def __init__(self, pool: Pool, bus: Bus, teller: Teller, alarm: Alarm) -> None:
        self._pool = pool
        self._bus = bus
        self._teller = teller
        self._goes_by_own_zones = False
        self._turns = itertools.count()
        self.alarm = alarm

    async def run_once(self) -> None:
        """Fire all schedules that are due, and set the alarm for the next. Raises Unavailable."""
        if not self._goes_by_own_zones:
            await firing.renew_zones(self._pool)
            self._goes_by_own_zones = True
        if next(self._turns) % _WAITING_EVERY == 0:
            await firing.look_at_waiting(self._pool)
        async for changes in firing.fire_due(self._pool, room=self._bus.room):
            failpoint("scheduler.before_tell")
            await self._teller.tell_all(changes)
        if (seconds := await firing.seconds_to_next(self._pool)) is not None:
            self.alarm.due_in(seconds)
