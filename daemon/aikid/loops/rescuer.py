"""Own what happens when a worker dies: its lease runs out, and its runs are queued again.

Amnesty: when no daemon could sweep for more than half a lease (Postgres was away, all daemons were, or this one was
cut off from NATS and did not sweep), nobody could renew either. Then the sessions that lived at the start of the gap
get one lease more instead of being taken for dead.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Final

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aikid.bus import Bus
from aikid.engine.rescue import changes_of
from aikid.store import rescue as store
from aikid.store.pool import Pool, Priority
from aikid.store.rescue import Lost, Rescued
from aikid.tell.offerer import Offerer
from aikid.tell.teller import Teller

log = logging.getLogger("aikid.rescuer")

INTERVAL_SECONDS: Final = 0.5
_ORPHANS_EVERY: Final = 6
_FORGET_EVERY: Final = 600
_UNTOLD_SECONDS: Final = 1.5


class Rescuer:
    """Takes runs from sessions that died."""

    def __init__(self, pool: Pool, bus: Bus, offerer: Offerer, teller: Teller) -> None:
        self._pool = pool
        self._bus = bus
        self._offerer = offerer
        self._teller = teller

    async def run(self) -> None:
        """Sweep twice a second until cancelled."""
        for turn in itertools.count():
            try:
                # Cut off from NATS nobody can renew through this daemon: better no sweep than a wrong one. The gap
                # that this leaves is what the amnesty goes by.
                if await self._bus.answers():
                    await self.run_once(orphans=turn % _ORPHANS_EVERY == 0)
                if turn % _FORGET_EVERY == 0:
                    await self._pool.run(store.forget_sessions, priority=Priority.LOOP)
            except Unavailable as error:
                self._pool.outage.goes_on(error)
            except Exception:
                log.exception("nobody looks for dead workers: a bug")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def run_once(self, *, orphans: bool = True) -> list[Rescued]:
        """Bury dead sessions and queue the runs of closed ones; with `orphans` also running runs without a session.

        Raises Unavailable. Each statement is a commit of its own: see `store.rescue`.
        """
        swept = await self._pool.run(store.sweep, priority=Priority.LOOP)
        if swept.spared:
            log.warning("nobody swept for a while: %d sessions get one lease more", swept.spared)
        if swept.buried:
            failpoint("rescuer.buried")
        taken: list[Rescued] = []
        if swept.closed_seconds is not None and swept.closed_seconds < store.CLOSED_SECONDS:
            taken += await self._take(Lost.OF_CLOSED)
        if orphans:
            taken += await self._take(Lost.ORPHANS)
        if taken:
            failpoint("rescuer.before_tell")
            log.warning("workers died or lost their leases: %d runs were taken from them", len(taken))
            await self._teller.tell(changes_of(taken))
        elif swept.closed_seconds is not None and swept.closed_seconds < _UNTOLD_SECONDS:
            # Whoever took that session's runs may have died or frozen before it told of them.
            self._offerer.look()
        return taken

    async def _take(self, lost: Lost) -> list[Rescued]:
        taken: list[Rescued] = []
        while True:
            if await self._pool.run(lambda c: store.fence(c, lost), priority=Priority.LOOP):
                failpoint("rescuer.fenced")
            some = await self._pool.run(lambda c: store.take(c, lost), priority=Priority.LOOP)
            taken += some
            if len(some) < store.TAKEN:
                return taken
