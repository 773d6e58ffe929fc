"""Own the worker's lease, on a thread with a loop and a connection of its own.

A busy event loop, or user code that holds it, must not lose the lease; so nothing here runs on the worker's loop but
the callbacks. The lease is certain only until 0.8 TTL after the *sending* of the last answered renewal, by a clock
that also runs while the machine sleeps: past it no side effect is started, so that the daemon, who waits for the whole
TTL, never gives a run to another worker while this one begins something (promise P7).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiki.core.errors import FINAL, AikiError, Denied
from aiki.outages import Outage
from aiki.transport import Transport
from aiki.wire.messages import CloseSession, Fence, OpenSession, RenewSession, Route, SessionReply

CERTAIN: Final = 0.8
"""The part of the TTL for which a renewal is trusted."""
STALL_SECONDS: Final = 300.0
"""A main loop that has not ticked for so long is dead: the process ends, so that its runs go elsewhere."""
RETRY_SECONDS: Final = 0.5
EXIT_STALLED: Final = 70

log = logging.getLogger("aiki.worker")


@dataclass(frozen=True, slots=True)
class SessionCallbacks:
    """What the session tells the worker, always on the worker's loop."""

    held: Callable[[], list[str]]
    """Return the claim_ids that still hold a run. Called on the session's thread."""
    on_lost: Callable[[], Awaitable[None]]
    """The lease is lost: drop all claims. A new session is opened when it returns."""
    on_unlisted: Callable[[list[Fence]], Awaitable[None]]
    """The daemon counts these runs as this session's, but no held claim has them."""
    on_reply: Callable[[int], None]
    """The database's time."""
    on_denied: Callable[[Denied], None]
    """NATS has refused this thread's connection for too long."""


class Session:
    """The lease of one worker process; a lost one is followed by a new one with another id."""

    def __init__(
        self,
        *,
        url: str,
        namespace: str,
        worker: str,
        routes: list[Route],
        ttl: float,
        callbacks: SessionCallbacks,
        denied_seconds: float,
    ) -> None:
        self.id = str(uuid.uuid4())
        self._url = url
        self._namespace = namespace
        self._worker = worker
        self._routes = routes
        self._ttl = ttl
        self._callbacks = callbacks
        self._denied_seconds = denied_seconds
        self._uncertainty = Outage(log, "the lease", away="is not certain, and nothing is started", back="is renewed")
        self._certain_until = 0.0
        self._main: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._thread: threading.Thread | None = None
        self._tick = _boottime()
        self._ticking: asyncio.TimerHandle | None = None

    def may_start(self) -> bool:
        """Tell whether the lease is certain, so that a side effect may be started."""
        return _boottime() < self._certain_until

    async def open(self) -> None:
        """Start the thread and return when the first session is open. Raises what opening it raised."""
        self._main = asyncio.get_running_loop()
        self._opened = self._main.create_future()
        self._beat()
        self._thread = threading.Thread(target=self._run_thread, name="aiki-lease", daemon=True)
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """End the session: runs that it still holds are queued again at once."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._loop is not None and self._keeper is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._keeper.cancel)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def _beat(self) -> None:
        self._tick = _boottime()
        assert self._main is not None
        self._ticking = self._main.call_later(1.0, self._beat)

    # -- on the thread

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._keep())
        except asyncio.CancelledError:
            pass
        except BaseException:
            self._certain_until = 0.0
            log.exception("the lease thread ended; this worker starts nothing more")

    async def _keep(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = asyncio.current_task()
        try:
            transport = await Transport.connect(
                self._url, namespace=self._namespace, name=f"aiki-lease-{self._worker}", quiet=True
            )
        except AikiError as error:
            self._tell_opened(error)
            return
        watching = asyncio.create_task(self._watch_refusals(transport))
        try:
            await self._open(transport)
            renewed = True
            while True:
                await asyncio.sleep(self._ttl / 3 if renewed else RETRY_SECONDS)
                self._end_if_stalled()
                renewed = await self._renew(transport)
        finally:
            watching.cancel()
            self._certain_until = 0.0
            with contextlib.suppress(AikiError):
                await transport.call(CloseSession(self.id), seconds=1.0)
            await transport.close()

    async def _open(self, transport: Transport) -> None:
        """Open the session, under another id if this one has ended meanwhile."""
        while True:
            sent = _boottime()
            try:
                reply = await transport.call(
                    OpenSession(self.id, self._worker, self._routes, self._ttl), seconds=self._ttl / 3
                )
            except FINAL as error:
                self._tell_opened(error)
                raise
            except AikiError as error:
                transport.unserved(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if reply.alive:
                break
            self.id = str(uuid.uuid4())
        self._answered(sent, reply)
        self._tell_opened(None)

    async def _renew(self, transport: Transport) -> bool:
        sent = _boottime()
        try:
            reply = await transport.call(RenewSession(self.id, self._callbacks.held()), seconds=self._ttl / 3)
        except AikiError as error:
            log.debug("the lease was not renewed: %s", error)
            if not self.may_start():
                self._uncertainty.goes_on(error)
            return False
        if reply.alive:
            self._answered(sent, reply)
            if reply.unlisted:
                await self._on_main(self._callbacks.on_unlisted(reply.unlisted))
            return True
        log.warning("the session was lost; all its claims are dropped and a new one is opened")
        self._certain_until = 0.0
        # Before the claims are dropped: a claim of the old session whose reply comes later is not begun any more.
        self.id = str(uuid.uuid4())
        await self._on_main(self._callbacks.on_lost())
        await self._open(transport)
        return True

    def _answered(self, sent: float, reply: SessionReply) -> None:
        self._ttl = reply.ttl
        self._certain_until = sent + CERTAIN * reply.ttl
        self._uncertainty.is_over()
        assert self._main is not None
        self._main.call_soon_threadsafe(self._callbacks.on_reply, reply.now)

    async def _watch_refusals(self, transport: Transport) -> None:
        error = await transport.denied(self._denied_seconds)
        assert self._main is not None
        self._main.call_soon_threadsafe(self._callbacks.on_denied, error)

    def _tell_opened(self, error: AikiError | None) -> None:
        assert self._main is not None
        self._main.call_soon_threadsafe(self._set_opened, error)

    def _set_opened(self, error: AikiError | None) -> None:
        if self._opened is None or self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    async def _on_main(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        assert self._main is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._main))

    def _end_if_stalled(self) -> None:
        stalled = _boottime() - self._tick
        if stalled < STALL_SECONDS or sys.gettrace() is not None:
            return
        log.critical("the worker's loop has not moved for %.0f s; this process ends so that its runs go on", stalled)
        os._exit(EXIT_STALLED)


_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boottime() -> float:
    return time.clock_gettime(_CLOCK)
