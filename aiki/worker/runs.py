"""Own the runs that a worker holds: it is the `Host` of their executions, and forgets each when its claim is over.

It must never decide what a run does next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from aiki.worker.clock import DatabaseClock
from aiki.worker.inventory import Inventory
from aiki.worker.looks import Looks
from aiki.worker.news import News
from aiki.worker.reads import Reads
from aiki.worker.recorder import Recorder
from aiki.worker.talk import Talk
from aiki.worker.talk import log as runs_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki.execution import ClaimedRun, Execution, Lease
    from aiki.transport import Transport
    from aiki.wire.messages import Page, Unit
    from aiki.worker.slots import Slots

STOP_SECONDS: Final = 5.0
"""After the drain time: how long runs get to record and give back what they hold."""

log = logging.getLogger("aiki.worker")


class Runs:
    """The runs of one worker, from their begin to the end of their claim."""

    def __init__(self, transport: Transport, slots: Slots) -> None:
        self.by_id: dict[str, Execution] = {}
        self.clock = DatabaseClock()
        self.now = self.clock.now
        """Returns the database's time in microseconds."""
        self.inventory = Inventory()
        self.talk = Talk(self.clock.now) if runs_log.isEnabledFor(logging.INFO) else None
        self.news = News(transport, self.by_id)
        self.looks = Looks(transport, self.by_id, self.clock.now)
        self.namespace = transport.namespace
        self._transport = transport
        self._slots = slots
        self._recorder = Recorder(transport, self.clock, self.talk)
        self._reads = Reads(transport, self.by_id)
        self._emptied = asyncio.Event()

    def listen(self, session: str) -> None:
        """Hear what is told to this session of its runs, and asked of them, and no longer of the one before."""
        self.news.listen(session)
        self.looks.listen(session)

    def hold(self, run: Execution) -> None:
        """Be the host of a run that is about to begin, or to be given back."""
        self.by_id[run.fence.run_id] = run
        self._emptied.clear()

    def drop(self, lease: Lease) -> None:
        """Forget the runs that were claimed under a lease that is lost."""
        for run in list(self.by_id.values()):
            if run.lease is lease:
                run.drop()

    def doubt(self, claim_ids: Sequence[str]) -> None:
        """Find out which runs of these claims have ended without their worker: those are forgotten."""
        doubted = set(claim_ids)
        for run in list(self.by_id.values()):
            if run.fence.claim_id in doubted:
                run.on_doubt()

    async def drain(self, seconds: float) -> None:
        """Let tasks end within `seconds`, give back everything else at once, and wait until all of it is recorded."""
        for run in list(self.by_id.values()):
            run.drain()
        if not await self._is_empty_within(seconds):
            log.warning("%d runs did not come to a stop within %g s", len(self.by_id), seconds)
            for run in list(self.by_id.values()):
                run.stop()
            await self._is_empty_within(STOP_SECONDS)
        await self._recorder.close()
        if self.talk is not None:
            self.talk.close()
        for run in list(self.by_id.values()):
            run.drop()
        self._reads.close()
        self.news.close()
        self.looks.close()

    # -- what an execution asks of its host

    seconds = staticmethod(time.perf_counter)

    def room(self) -> int:
        """Return the bytes of a message to the daemon."""
        return self._transport.room

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        """Send the unit; `run.on_recorded` gets its answer."""
        self._recorder.submit(run, unit)

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        """Read the next page of the journal; `run.on_page` gets it."""
        self._reads.page(run, request)

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        """Read what has come to the run; `run.on_inbox` gets it."""
        self._reads.inbox(run, after)

    def read_ends(self, run: ClaimedRun, after: int) -> None:
        """Read ends of children that its entries have taken; `run.on_ends` gets them."""
        self._reads.ends(run, after)

    def lingering(self, run: ClaimedRun) -> None:
        """Free the slot of a run that only waits."""
        self._slots.linger(run)

    def wants_slot(self, run: ClaimedRun) -> None:
        """Answer with `run.on_slot()`, now or as soon as a slot is free."""
        self._slots.resume(run)

    def ended(self, run: ClaimedRun) -> None:
        """Forget a run whose claim is over."""
        fence = run.fence
        if self.by_id.get(fence.run_id) is run:
            del self.by_id[fence.run_id]
        self.inventory.let_go(fence.claim_id)
        self._slots.end(run)
        if not self.by_id:
            self._emptied.set()

    async def _is_empty_within(self, seconds: float) -> bool:
        if self.by_id:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                return False
        return True
