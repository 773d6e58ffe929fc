"""Own the thread with a loop on which an async client lives, for code that has none: one in each process.

A fork has no such thread, and the sockets it has are those of the process that forked: to touch them would take them
away there. So a fork leaves them as they are, and gets a thread and a client of its own at its first call.
The thread keeps no process alive: a client that nobody has closed ends with its process.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Generic, ParamSpec, TypeAlias, TypeVar

from aiki.core.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
Client_co = TypeVar("Client_co", covariant=True)
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Client_co]]


class Portal(Generic[Client_co]):
    """Has coroutines run beside the client of this process, for threads of it that wait for them."""

    def __init__(self, connect: Connect[Client_co]) -> None:
        """Connect; raises what `connect` raises, now and at the first call in each fork."""
        self._connect = connect
        self._line = _Line(connect)
        self._left: list[_Line[Client_co]] = []
        """Of the processes that we come from: kept, since nothing of them may be torn down here."""
        self._locks: dict[int, threading.Lock] = {}
        """By process: one of its parent's may be locked for ever."""
        self._closed = False

    @property
    def client(self) -> Client_co:
        """The client of this process. Raises UsageError once this is closed."""
        return self._line_here().client

    def serves(self, client: object) -> bool:
        """Tell whether a client is that of this process, and open."""
        return not self._closed and self._line.pid == os.getpid() and self._line.client is client

    def call(self, fn: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Await `fn(*args, **kwargs)` on the loop and return what it returns, or raise what it raises.

        An interrupt here cancels it there. Raises UsageError once this is closed.
        """
        return self._line_here().call(lambda: fn(*args, **kwargs))

    def close(self) -> None:
        """Close the client of this process, if it has one."""
        self._closed = True
        if self._line.pid == os.getpid():
            self._line.close()

    def _line_here(self) -> _Line[Client_co]:
        if self._closed:
            raise UsageError("this client is closed", hint="with Client.blocking() as client: ...  # use it inside")
        pid = os.getpid()
        if self._line.pid != pid:
            with self._locks.setdefault(pid, threading.Lock()):
                if self._line.pid != pid:
                    self._left.append(self._line)
                    self._line = _Line(self._connect)
        return self._line


class _Line(Generic[Client_co]):
    """The thread, its loop and the client of one process."""

    def __init__(self, connect: Connect[Client_co]) -> None:
        self.pid = os.getpid()
        self._opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Client_co]] = Future()
        self._thread = threading.Thread(target=self._run, args=(connect,), name="aiki-client", daemon=True)
        self._thread.start()
        self._loop, self._closing, self.client = self._opened.result()

    def call(self, begin: Callable[[], Awaitable[R]]) -> R:
        async def awaited() -> R:
            return await begin()

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # of no effect, unless the wait for it was interrupted

    def close(self) -> None:
        if not sys.is_finalizing():  # else the thread does not run any more
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _run(self, connect: Connect[Client_co]) -> None:
        asyncio.run(self._serve(connect))

    async def _serve(self, connect: Connect[Client_co]) -> None:
        closing = asyncio.Event()
        try:
            async with connect() as client:
                self._opened.set_result((asyncio.get_running_loop(), closing, client))
                await closing.wait()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
