"""Own the worker's lease, on a thread with a loop and a connection of its own.

A busy event loop, or user code that holds it, must not lose the lease: so the thread needs nothing of the worker's
loop, and never waits for it. It renews, gives back what the daemon counts as ours and nobody here holds, and opens a
new session when one was lost; the worker's loop is told of that, and drops the runs when it gets to it.

The lease is certain only until 0.8 TTL after the *sending* of the last answered renewal, by a clock that also runs
while the machine sleeps: past it no side effect is started, so that the daemon, who waits for the whole TTL, never
gives a run to another worker while this one begins something (promise P7).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec.structs import replace

from aiki.core.errors import FINAL, AikiError, Denied
from aiki.core.states import Move
from aiki.execution.lease import Lease, boottime
from aiki.process.outages import Outage
from aiki.transport import Transport
from aiki.wire import weights
from aiki.wire.limits import CLAIM_RUNS
from aiki.wire.messages import (
    CloseSession,
    CodeChange,
    End,
    Fence,
    OpenSession,
    Record,
    RenewSession,
    Route,
    SessionReply,
    Unit,
)
from aiki.wire.packing import next_ids, openings, request_room, requests
from aiki.worker.inventory import Inventory
from aiki.worker.standstill import LOOK_SECONDS, Stall, Standstill

CERTAIN: Final = 0.8
"""The part of the TTL for which a renewal is trusted."""
STOOD_STILL: Final = 0.5
"""The part of a lease for which a standstill is what has cost it: the rest is the third until the next renewal."""
STALL_SECONDS: Final = 300.0
"""A main loop that is seen to stand for so long is dead: the process ends, so that its runs go elsewhere."""
RETRY_SECONDS: Final = 0.5
RETRY_PART: Final = 0.1
"""Of a lease that is short: between a renewal that was not answered and the next."""
EXIT_STALLED: Final = 70

log = logging.getLogger("aiki.worker")


@dataclass(frozen=True, slots=True)
class SessionCallbacks:
    """What the session tells the worker."""

    on_lost: Callable[[Lease], None]
    """The lease is lost: drop what was claimed under it. Called on the worker's loop, when that gets to it."""
    on_reply: Callable[[int], None]
    """The database's time. Called on the session's thread."""
    on_news: Callable[[list[tuple[str, int]]], None]
    """Runs of this session with unread arrivals, up to a number. Called on the worker's loop."""
    on_short: Callable[[list[str]], None]
    """Claims of which some run may have ended without this worker. Called on the worker's loop."""
    on_changed: Callable[[list[CodeChange]], None]
    """Routes whose code is another than before, while runs are in flight. Called on the worker's loop."""
    on_denied: Callable[[Denied], None]
    """NATS has refused this thread's connection for too long. Called on the worker's loop."""


class Session:
    """The lease of one worker process; a lost one is followed by a new one with another id."""

    def __init__(
        self,
        transport: Transport,
        opening: OpenSession,
        *,
        inventory: Inventory,
        callbacks: SessionCallbacks,
        denied_seconds: float,
    ) -> None:
        """`transport` says where to connect to, and is not used; `opening` is what a session is opened by."""
        self.lease = Lease(opening.id, opening.ttl)
        """The lease in force, or the one that is being opened: it is not certain then."""
        self._connect = partial(
            Transport.connect, transport.url, keys=transport.keys, namespace=transport.namespace, quiet=True
        )
        self._opening = opening
        self.inventory = inventory
        self._callbacks = callbacks
        self._denied_seconds = denied_seconds
        self._uncertainty = Outage(log, "the lease", away="is not certain, and nothing is started", back="is renewed")
        self._listed = ""
        """The last claim that the last renewal had room to list; the next one lists those behind it."""
        self._main: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._renewal_at = 0.0
        self._is_draining = False
        self._giving_back: asyncio.Task[None] | None = None
        self._added = asyncio.Event()
        """Set on the thread while the daemon has not been told of a route that was added."""
        self._opened: asyncio.Future[None] | None = None
        self._thread: threading.Thread | None = None
        self._standstill = Standstill(boottime())
        self._stall = Stall()
        self._ticking: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Start the thread and return when the first session is open. Raises what opening it raised."""
        self._main = asyncio.get_running_loop()
        self._opened = self._main.create_future()
        self._beat()
        self._thread = threading.Thread(target=self._run_thread, name="aiki-lease", daemon=True)
        self._thread.start()
        await self._opened

    def drain(self) -> None:
        """Have the daemon told, by a renewal at once, that this worker takes no more runs."""
        self._is_draining = True
        self._renewal_at = 0.0

    async def close(self) -> None:
        """End the session: runs that it still holds are queued again at once."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._loop is not None and self._keeper is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._keeper.cancel)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def serve(self, route: Route) -> None:
        """Serve one more route, in this session and those that may follow it. For the worker's loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._add, route)

    def _beat(self) -> None:
        self._stall.beat()
        assert self._main is not None
        self._ticking = self._main.call_later(1.0, self._beat)

    # -- on the thread

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._keep())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            log.exception("the lease thread ended; this worker starts nothing more")
            with contextlib.suppress(RuntimeError):  # the worker's loop is closed
                self._tell_opened(error)

    async def _keep(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = asyncio.current_task()
        try:
            transport = await self._connect(name=f"aiki-lease-{self._opening.worker}")
        except AikiError as error:
            self._tell_opened(error)
            return
        watching = asyncio.create_task(self._watch_refusals(transport))
        try:
            if not await self._open(transport):
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell_added(transport))
                group.create_task(self._look())
                while True:
                    await self._renew(transport, group)
        finally:
            watching.cancel()
            self.lease.certain_until = 0.0
            with contextlib.suppress(AikiError):
                await transport.call(CloseSession(self.lease.session), seconds=1.0)
            await transport.close()

    async def _open(self, transport: Transport, *, again: bool = False) -> bool:
        """Open the session, under another id if this one has ended meanwhile; tell whether it is open.

        Only a first one can be refused: what was good before is repeated until it is taken.
        """
        while True:
            lease, sent = self.lease, boottime()
            request = replace(self._opening, id=lease.session, ttl=lease.ttl_seconds)
            try:
                reply = await self._send_openings(transport, request, seconds=lease.reply_seconds)
            except AikiError as error:
                if not again and isinstance(error, FINAL):
                    self._tell_opened(error)
                    return False
                transport.unserved(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if reply.alive:
                break
            self.lease = Lease(str(uuid.uuid4()), lease.ttl_seconds)
        self._answered(sent, reply)
        self._tell_opened(None)
        return True

    def _add(self, route: Route) -> None:
        self._opening = replace(self._opening, routes=[*self._opening.routes, route])
        self._added.set()

    async def _tell_added(self, transport: Transport) -> None:
        """Tell the daemon what is served now whenever a route was added. It leaves the lease alone."""
        while True:
            await self._added.wait()
            self._added.clear()
            lease = self.lease
            request = replace(self._opening, id=lease.session, ttl=lease.ttl_seconds)
            try:
                await self._send_openings(transport, request, seconds=lease.reply_seconds)
            except AikiError as error:
                if isinstance(error, FINAL):
                    log.exception("a workflow that was added is not served")
                    continue
                transport.unserved(error)
                await asyncio.sleep(RETRY_SECONDS)
                self._added.set()
            # A session that was opened meanwhile may have named its routes before this one was added.
            if self.lease is not lease:
                self._added.set()

    async def _send_openings(self, transport: Transport, request: OpenSession, *, seconds: float) -> SessionReply:
        replies = [await transport.call(one, seconds=seconds) for one in openings(request, transport.room)]
        if changed := [change for reply in replies for change in reply.changed]:
            assert self._main is not None
            self._main.call_soon_threadsafe(self._callbacks.on_changed, changed)
        return replies[-1]

    async def _renew(self, transport: Transport, group: asyncio.TaskGroup) -> None:
        """Renew the lease when that is due; a lost session is followed by a new one."""
        # In steps: what a loop waits for stands still while the machine sleeps, a lease does not: nobody tells.
        while (left := self._renewal_at - boottime()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, LOOK_SECONDS))
        lease, sent = self.lease, boottime()
        held, until = next_ids(self.inventory.held(), self._listed, request_room(transport.room))
        request = RenewSession(lease.session, held, self._listed, until, self.inventory.counts(held), self._is_draining)
        try:
            reply = await transport.call(request, seconds=lease.reply_seconds)
        except AikiError as error:
            log.debug("the lease was not renewed: %s", error)
            if not lease.is_certain():
                self._uncertainty.goes_on(error)
            self._renewal_at = boottime() + min(RETRY_SECONDS, RETRY_PART * lease.ttl_seconds)
            return
        if reply.alive:
            self._listed = until or ""
            self._answered(sent, reply)
            assert self._main is not None
            if reply.news:
                self._main.call_soon_threadsafe(self._callbacks.on_news, reply.news)
            if reply.short:
                self._main.call_soon_threadsafe(self._callbacks.on_short, reply.short)
            # Beside the renewals, not between them. What is still under way then is named again by the next.
            if reply.unlisted and (self._giving_back is None or self._giving_back.done()):
                unheld = self.inventory.give_back(reply.unlisted)
                self._giving_back = group.create_task(self._give_back(unheld, transport))
            return
        self._say_lost(lease, self._standstill.take())
        self._lose()
        await self._open(transport, again=True)

    def _answered(self, sent: float, reply: SessionReply) -> None:
        self.lease.ttl_seconds = reply.ttl
        self.lease.certain_until = sent + CERTAIN * reply.ttl
        self._uncertainty.is_over()
        self._standstill.take()
        self._renewal_at = sent + reply.ttl / 3
        self._callbacks.on_reply(reply.now)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._standstill.look(boottime())
            if (stalled := self._stall.look()) >= STALL_SECONDS:
                self._end_stalled(stalled)

    def _say_lost(self, lease: Lease, stood_still: float) -> None:
        dropped = "the session was lost; all its claims are dropped and a new one is opened"
        if stood_still < STOOD_STILL * lease.ttl_seconds:
            log.warning("%s", dropped)
            return
        log.warning(
            "%s: for %.1f s nothing else of this process ran, since it was frozen, its machine slept, or a task held"
            ' Python\'s interpreter lock (the GIL); such a task is one for @task(executor="process")',
            dropped, stood_still,
        )  # fmt: skip

    def _lose(self) -> None:
        lost = self.lease
        # First, and for good: what was claimed under it begins no more, whenever the worker's loop gets to drop it.
        lost.certain_until = 0.0
        self.lease = Lease(str(uuid.uuid4()), lost.ttl_seconds)
        assert self._main is not None
        self._main.call_soon_threadsafe(self._callbacks.on_lost, lost)

    async def _give_back(self, unheld: list[Fence], transport: Transport) -> None:
        """Release runs that the daemon counts as ours and that no claim here holds (promise P1)."""
        units = [Unit(fence, 0, [], [], End(Move.RELEASE, why="the claim's reply was lost")) for fence in unheld]
        left = len(units)
        for some in requests(units, weights.of_unit, transport.room, CLAIM_RUNS):
            try:
                await transport.call(Record(list(some)), seconds=self.lease.reply_seconds)
            except AikiError as error:
                log.warning("%d runs were not given back, the next renewal names them again: %s", left, error)
                return
            left -= len(some)

    async def _watch_refusals(self, transport: Transport) -> None:
        error = await transport.denied(self._denied_seconds)
        assert self._main is not None
        self._main.call_soon_threadsafe(self._callbacks.on_denied, error)

    def _tell_opened(self, error: BaseException | None) -> None:
        assert self._main is not None
        self._main.call_soon_threadsafe(self._set_opened, error)

    def _set_opened(self, error: BaseException | None) -> None:
        if self._opened is None or self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    def _end_stalled(self, stalled: float) -> None:
        if sys.gettrace() is not None:
            return
        log.critical("the worker's loop has not moved for %.0f s; this process ends so that its runs go on", stalled)
        os._exit(EXIT_STALLED)
