"""Own the timers: queue runs whose time has come.

It sleeps until the earliest due time that it knows, and each commit of this process tells it of earlier ones, so a
sleep of 100 ms takes 100 ms. Other daemons' timers are theirs; if one dies, its timers are found within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aikid.store import sweeps as store
from aikid.store.pool import Pool, Priority
from aikid.tell.news import News
from aikid.tell.offerer import Offerer

log = logging.getLogger("aikid.waker")

LOOK_SECONDS: Final = 1.0
_BATCH: Final = 500
_ALREADY_TAKEN_SECONDS: Final = 0.02
"""Due rows that another daemon is waking: look again after this."""


class Waker:
    """Wakes due runs. Its clock only says when to look; the database's says what is due."""

    def __init__(self, pool: Pool, offerer: Offerer, news: News) -> None:
        self._pool = pool
        self._offerer = offerer
        self._news = news
        self._look_at = 0.0
        self._nudged = asyncio.Event()

    def due_in(self, seconds: float) -> None:
        """Take note that a run is due in so many seconds."""
        at = asyncio.get_running_loop().time() + max(seconds, 0.0)
        if at < self._look_at:
            self._look_at = at
            self._nudged.set()

    async def run(self) -> None:
        """Wake what is due until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._look_at = loop.time() + LOOK_SECONDS
            try:
                self.due_in(await self.run_once())
                self._pool.outage.is_over()
            except Unavailable as error:
                self._pool.outage.goes_on(error)
            except Exception:
                log.exception("timers wait: a bug")
            await self._sleep()

    async def run_once(self) -> float:
        """Queue all runs that are due; return the seconds until the next is, at most LOOK_SECONDS.

        Raises Unavailable.
        """
        count = _BATCH
        while count == _BATCH:
            woken = await self._pool.run(lambda c: store.wake(c, limit=_BATCH), priority=Priority.LOOP)
            count = len(woken)
            if woken:
                failpoint("waker.before_hint")
            await self._offerer.queued(Counter((row[0], row[1], row[2]) for row in woken))
            for namespace in {row[0] for row in woken}:
                await self._news.changed(namespace, [row[3] for row in woken if row[0] == namespace])
        seconds = await self._pool.run(store.seconds_to_next, priority=Priority.LOOP)
        return LOOK_SECONDS if seconds is None else max(seconds, _ALREADY_TAKEN_SECONDS if seconds <= 0 else 0.0)

    async def _sleep(self) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._look_at - loop.time()) > 0:
            self._nudged.clear()
            try:
                async with asyncio.timeout(left):  # not wait_for(): see Offerer.run
                    await self._nudged.wait()
            except TimeoutError:
                return
