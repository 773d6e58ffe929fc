"""Own what happens when a worker dies: its lease runs out, and its runs are queued again.

Amnesty: when no daemon could sweep for more than a fifth of a lease (Postgres was away, all daemons were, or this one
was cut off from NATS and did not sweep), nobody could renew either; or the database's clock was set forward, and no
lease has run out. Then the sessions that lived at the start of the gap get one lease more instead of being taken for
dead; and all of them do when the clock was set back by so much.
"""

from __future__ import annotations

import itertools
import logging
from typing import Final

from aiki.core.failpoints import failpoint
from aikid.bus import Bus
from aikid.engine import rescue
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm
from aikid.tell.offerer import Offerer
from aikid.tell.teller import Teller

log = logging.getLogger("aikid.rescuer")

_ORPHANS_EVERY: Final = 6
_FORGET_EVERY: Final = 600


class Rescuer:
    """Takes runs from sessions that died."""

    every_seconds = 0.5
    suffers = "nobody looks for dead workers"

    def __init__(self, pool: Pool, bus: Bus, offerer: Offerer, teller: Teller) -> None:
        self._pool = pool
        self._bus = bus
        self._offerer = offerer
        self._teller = teller
        self._turns = itertools.count()
        self.alarm = Alarm()

    async def run_once(self) -> None:
        """Bury dead sessions and queue the runs of closed ones; now and then also runs without a session.

        Raises Unavailable.
        """
        turn = next(self._turns)
        # Cut off from NATS nobody can renew through this daemon: better no sweep than a wrong one. The gap that this
        # leaves is what the amnesty goes by.
        if await self._bus.answers():
            await self._sweep(orphans=turn % _ORPHANS_EVERY == 0)
        if turn % _FORGET_EVERY == 0:
            await rescue.forget_sessions(self._pool)

    async def _sweep(self, *, orphans: bool) -> None:
        swept = await rescue.bury(self._pool)
        if swept.spared:
            log.warning("nobody swept for a while, or the clock was set: %d leases begin anew", swept.spared)
        # All of them before any is told of: hints for thousands of runs take their time.
        changes = await rescue.take_back(self._pool, swept, orphans=orphans)
        if taken := sum(len(ids) for runs in (changes.changed, changes.settled) for ids in runs.values()):
            failpoint("rescuer.before_tell")
            log.warning("workers died or lost their leases: %d runs were taken from them", taken)
            await self._teller.tell_all(changes)
        elif rescue.may_be_untold(swept):
            self._offerer.look()
