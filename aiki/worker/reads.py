"""Own the reading of what the daemon keeps of the runs that are here: pages of their journals, and their inboxes.

A read changes nothing. So it is repeated until it is answered, or its run is here no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from aiki.core.errors import AikiError, NotFound, PayloadError
from aiki.wire.messages import Inbox

if TYPE_CHECKING:
    from aiki.execution import ClaimedRun
    from aiki.transport import Transport
    from aiki.wire.messages import Page, Request

R = TypeVar("R")

RETRY_SECONDS: Final = 0.5


class Reads:
    """What is being read for the runs of one worker, which are given by id."""

    def __init__(self, transport: Transport, runs: Mapping[str, ClaimedRun]) -> None:
        self._transport = transport
        self._runs = runs
        self._reading: set[asyncio.Task[None]] = set()

    def page(self, run: ClaimedRun, request: Page) -> None:
        """Read on in the run's journal; `run.on_page` gets what was read, or `on_page_refused`."""
        self._start(run, request, run.on_page)

    def inbox(self, run: ClaimedRun, after: int) -> None:
        """Read what is unread in the run's inbox beyond number `after`; `run.on_inbox` gets it."""
        self._start(run, Inbox(run.fence.run_id, after), run.on_inbox)

    def ends(self, run: ClaimedRun, after: int) -> None:
        """Read ends of children that the run's entries have taken; `run.on_ends` gets them, or `on_page_refused`."""
        self._start(run, Inbox(run.fence.run_id, after, ends=True), run.on_ends)

    def close(self) -> None:
        """Read no more."""
        for task in self._reading:
            task.cancel()

    def _start(self, run: ClaimedRun, request: Request[R], take: Callable[[R], None]) -> None:
        task = asyncio.create_task(self._read(run, request, take))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, run: ClaimedRun, request: Request[R], take: Callable[[R], None]) -> None:
        run_id = run.fence.run_id
        while self._runs.get(run_id) is run:
            try:
                reply = await self._transport.call(request, seconds=run.lease.reply_seconds)
            except NotFound:
                run.drop()
                return
            except PayloadError as error:
                run.on_page_refused(error)
                return
            except AikiError as error:
                self._transport.unserved(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            take(reply)
            return
