"""Put the daemon together, run it until it is cancelled, and stop it in the reverse order."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.packing import payload_bytes
from aikid.api import Api
from aikid.bus import Bus
from aikid.config import Settings
from aikid.engine.expiring import Terms
from aikid.engine.routes import Routes
from aikid.engine.summary import Capped
from aikid.loops.families import Families
from aikid.loops.keys import Keys
from aikid.loops.loop import Looker, keep_looking
from aikid.loops.minutes import Minutes
from aikid.loops.pruner import Pruner
from aikid.loops.reclaimer import Reclaimer
from aikid.loops.remover import Remover
from aikid.loops.rescuer import Rescuer
from aikid.loops.scheduler import Scheduler
from aikid.loops.successor import Successor
from aikid.loops.waker import Waker
from aikid.ops import Services
from aikid.store.pool import Pool, Priority
from aikid.tell.followers import Followers
from aikid.tell.handoffs import Handoffs
from aikid.tell.heard import Elsewhere
from aikid.tell.holders import Holders
from aikid.tell.looks import Looks
from aikid.tell.namespaces import Namespaces
from aikid.tell.news import News
from aikid.tell.offerer import Offerer
from aikid.tell.tally import Tally
from aikid.tell.teller import Alarms, Teller
from aikid.tell.watchers import Watchers

log = logging.getLogger("aikid")

_DRAIN_SECONDS: Final = 8.0


class App:
    """One daemon. Any number of them share the work; none is special."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.pool = Pool(settings.database_url, size=settings.pool_size)
        self.bus = Bus(settings.nats_url, settings.keys, on_return=self._on_nats_return)
        looking = self.pool.at(Priority.LOOP)
        self.offerer = Offerer(looking, self.bus)
        self.watchers = Watchers()
        self.looks = Looks(self.bus)
        elsewhere, capped = Elsewhere(self.bus), Capped()
        self.followers = Followers(self.pool, self.bus, self.looks, elsewhere)
        self.namespaces = Namespaces(self.pool, self.bus, elsewhere, capped)
        self.news = News(self.pool, self.bus, self.watchers, self.followers, self.namespaces, elsewhere)
        alarms = Alarms()
        self.handoffs = Handoffs(self.bus, self.pool.at(Priority.CLAIM))
        tally = Tally()
        self.minutes = Minutes(looking, tally)
        holders = Holders(self.bus)
        self.teller = Teller(
            self.watchers, self.news, self.namespaces, self.offerer, self.handoffs, holders, alarms, tally
        )
        self.waker = Waker(looking, self.teller, alarms.times)
        self.scheduler = Scheduler(looking, self.bus, self.teller, alarms.schedules)
        self.families = Families(looking, self.teller, alarms.errands)
        self.keys = Keys(looking, self.teller, alarms.lines)
        self.rescuer = Rescuer(looking, self.bus, self.offerer, self.teller)
        self.reclaimer = Reclaimer(self.pool.at(Priority.CLAIM), self.handoffs, self.teller)
        terms = Terms(settings.retention, round(settings.key_retention_seconds))
        beside = (Pruner(looking), Remover(self.pool, terms), Successor(looking), self.minutes)
        for_runs = (self.offerer, self.waker, self.scheduler, self.families, self.keys, self.rescuer, self.reclaimer)
        self._lookers: tuple[Looker, ...] = (*for_runs, *beside)
        self.routes = Routes(self.pool.at(Priority.ENQUEUE), self.offerer.met)
        self.api = Api(
            Services(
                self.pool,
                self.bus,
                self.routes,
                self.watchers,
                self.handoffs.leaves,
                self.teller,
                terms,
                self.looks,
                self.followers,
                self.namespaces,
                capped,
            )
        )

    async def run(self, *, started: asyncio.Event | None = None) -> None:
        """Serve until cancelled; then finish what was accepted, and stop. `started` is set when requests are served.

        The schema must be right already. Raises Unavailable if NATS or Postgres do not answer at the start, Denied if
        NATS refuses for the start timeout, then or later, what cannot be done without, and ConfigError if a newer
        daemon migrates the schema.
        """
        try:
            await self.bus.connect(seconds=self._settings.start_timeout_seconds)
            self._warn_of_narrow_messages()
            await self.pool.open()
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(keep_looking(looker, self.pool.outage)) for looker in self._lookers]
                loops += [group.create_task(one.run()) for one in (self.news, self.followers, self.namespaces)]
                serving = group.create_task(self.api.run())
                try:
                    await self.bus.listen(self.news.on_news)
                    self.handoffs.listen()
                    self.looks.listen()
                    await self.bus.serve(self.api.accept)
                    if started is not None:
                        loops.append(group.create_task(self._tell(started)))
                    raise await self.bus.denied(self._settings.start_timeout_seconds)
                finally:
                    await self._stop(serving, loops)
        finally:
            await self.bus.aclose()
            await self.pool.aclose()

    async def _tell(self, started: asyncio.Event) -> None:
        await self.bus.granted()
        started.set()

    def _on_nats_return(self) -> None:
        # It may be another server of the cluster.
        self._warn_of_narrow_messages()
        self.offerer.nudge()

    def _warn_of_narrow_messages(self) -> None:
        if (room := self.bus.room) < MESSAGE_BYTES:
            log.warning(
                "the NATS server's max_payload is %d bytes: inputs and results of more than %d are refused",
                room,
                payload_bytes(room),
                extra={"hint": f"raise max_payload in its configuration to {MESSAGE_BYTES} or more"},
            )

    async def _stop(self, serving: asyncio.Task[None], loops: list[asyncio.Task[None]]) -> None:
        # First out of the queue group, so that nothing new arrives; then answer what did; then the rest.
        await self.bus.leave()
        self.api.stop()
        await asyncio.wait([serving], timeout=_DRAIN_SECONDS)
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops, timeout=_DRAIN_SECONDS)
        await self.minutes.finish()


async def serve(settings: Settings, *, started: asyncio.Event | None = None) -> None:
    """Run one daemon until cancelled."""
    await App(settings).run(started=started)
