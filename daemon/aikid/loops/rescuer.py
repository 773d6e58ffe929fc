"""Own what happens when a worker dies: its lease runs out, and its runs are queued again.

Amnesty: when no daemon could sweep for more than half a lease (Postgres was away, all daemons were, or this one was
cut off from NATS and did not sweep), nobody could renew either. Then the sessions that lived at the start of the gap
get one lease more instead of being taken for dead.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from typing import Final

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aiki.core.states import Event, State, target
from aikid.bus import Bus
from aikid.loops.offerer import Offerer
from aikid.loops.waker import Waker
from aikid.news import News
from aikid.store import rescue as store
from aikid.store.pool import Connection, Pool, Priority
from aikid.store.rescue import Rescued

log = logging.getLogger("aikid.rescuer")

INTERVAL_SECONDS: Final = 0.5
_ORPHANS_EVERY: Final = 6
_FORGET_EVERY: Final = 600


class Rescuer:
    """Takes runs from sessions that died."""

    def __init__(self, pool: Pool, bus: Bus, *, offerer: Offerer, waker: Waker, news: News) -> None:
        self._pool = pool
        self._bus = bus
        self._offerer = offerer
        self._waker = waker
        self._news = news

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
        """Bury dead sessions and queue their runs; with `orphans` also running runs without a session.

        Raises Unavailable.
        """

        async def work(connection: Connection) -> list[Rescued]:
            async with connection.transaction():
                amnesty = await store.begin(connection)
                if amnesty is None:
                    return []
                if amnesty:
                    log.warning("nobody swept for a while: %d sessions get one lease more", amnesty)
                dead = await store.bury(connection)
                if dead:
                    failpoint("rescuer.between")
                rescued = await store.rescue(connection, dead) if dead else []
                if orphans:
                    rescued += await store.rescue_orphans(connection)
                return rescued

        rescued = await self._pool.run(work, priority=Priority.LOOP)
        if rescued:
            await self._tell(rescued)
        return rescued

    async def _tell(self, rescued: list[Rescued]) -> None:
        log.warning("workers died: %d runs were taken from them", len(rescued))
        queued = [one for one in rescued if one.event is Event.RESCUE]
        await self._offerer.queued(Counter((one.namespace, one.workflow, one.version) for one in queued))
        for one in rescued:
            if one.due_seconds is not None:
                self._waker.due_in(one.due_seconds)
        for namespace in {one.namespace for one in rescued}:
            mine = [one for one in rescued if one.namespace == namespace]
            blocked = [one.id for one in mine if target(one.event) is State.BLOCKED]
            await self._news.changed(namespace, blocked, end=True)
            await self._news.changed(namespace, [one.id for one in mine if one.id not in blocked])
