"""Own the timers: queue runs whose time has come, and let deadlines that have passed do what they do.

It sleeps until the earliest due time that it knows, and each commit of this process tells it of earlier ones, so a
sleep of 100 ms takes 100 ms. Other daemons' timers are theirs; if one dies, its timers are found within a second.
"""

from __future__ import annotations

from aiki.core.failpoints import failpoint
from aikid.engine import deadlines, timers
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm
from aikid.tell.teller import Teller


class Waker:
    """Wakes due runs, and ends those whose deadline has passed."""

    every_seconds = 1.0
    suffers = "timers wait"

    def __init__(self, pool: Pool, teller: Teller, alarm: Alarm) -> None:
        self._pool = pool
        self._teller = teller
        self.alarm = alarm

    async def run_once(self) -> None:
        """Queue all runs that are due, pass all deadlines, and set the alarm for the next. Raises Unavailable."""
        for pass_due in (timers.wake, deadlines.pass_due):
            async for changes in pass_due(self._pool):
                failpoint("waker.before_hint")
                await self._teller.tell_all(changes)
        if (seconds := await timers.seconds_to_next(self._pool)) is not None:
            self.alarm.due_in(seconds)
        self._pool.outage.is_over()
