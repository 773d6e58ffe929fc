"""Own the open connections to one database: who gets the next free one, until when, and which are no good any more.

No caller waits longer than it said, whatever Postgres does: not for a free connection, not for a new one, and not for
an answer, since the line is cut then. After a connection could not be made the next calls are refused at once for a
moment, so that a queue of them does not wait for a dead server one after the other.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from aiki.core.errors import Unavailable
from aikid.store.fates import reason

Connection = AsyncConnection[tuple[Any, ...]]

_PAUSE_SECONDS: Final = 0.2


class Priority(IntEnum):
    """Who gets the next free connection: what keeps claims alive first, new work last."""

    LEASE = 0
    RECORD = 1
    LOOP = 2
    CLAIM = 3
    ENQUEUE = 4
    READ = 5


class Connections:
    """At most `size` connections in autocommit, lent one caller at a time. Times are the loop's."""

    def __init__(self, conninfo: str, *, size: int) -> None:
        self._conninfo = conninfo
        self._size = size
        self._idle: list[Connection] = []
        self._open = 0
        self._good: set[Connection] = set()
        """Those made since the last renewal; others are closed when they come back."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._turn = itertools.count()
        self._refuse_until = 0.0
        self._refusal = ""
        self.lent = 0
        """How many times a connection was asked for."""

    async def open(self, *, until: float) -> None:
        """Open all connections, so that no request waits for one. Raises Unavailable."""
        opening = (self.acquire(Priority.LOOP, until=until) for _ in range(self._size))
        opened = await asyncio.gather(*opening, return_exceptions=True)
        for connection in opened:
            if not isinstance(connection, BaseException):
                await self.release(connection)
        for error in opened:
            if isinstance(error, BaseException):
                raise error

    async def acquire(self, priority: Priority, *, until: float) -> Connection:
        """Return a connection; give it back by `release`. Raises Unavailable if there is none at `until`."""
        self.lent += 1
        if self._idle:
            return self._idle.pop()
        try:
            async with asyncio.timeout_at(until):
                return await self._next(priority)
        except TimeoutError as error:
            raise Unavailable("Postgres cannot be used now: no connection became free in time") from error

    async def release(self, connection: Connection) -> None:
        """Take a connection back; one that is lost, stale or in the middle of a transaction is closed."""
        is_idle = not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE
        if is_idle and connection in self._good:
            self._idle.append(connection)
            self._wake_one()
        else:
            await self._close(connection)

    def is_current(self, connection: Connection) -> bool:
        """Tell whether a connection was made since the last `renew`: if not, what it met is known already."""
        return connection in self._good

    async def renew(self) -> None:
        """Use no connection of before again: what one of them has met, all have."""
        idle, self._idle = self._idle, []
        self._good.clear()
        for connection in idle:
            await self._close(connection)

    def refuse(self, why: str) -> None:
        """Refuse at once for a moment whoever needs a new connection."""
        self._refuse_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        self._refusal = f"Postgres cannot be used now: {why}"

    async def _next(self, priority: Priority) -> Connection:
        while True:
            if self._idle:
                return self._idle.pop()
            if self._open < self._size:
                return await self._connect()
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, next(self._turn), free))
            try:
                await free
            except asyncio.CancelledError:
                if free.done() and not free.cancelled():
                    self._wake_one()
                raise

    async def _connect(self) -> Connection:
        if asyncio.get_running_loop().time() < self._refuse_until:
            self._wake_one()
            raise Unavailable(self._refusal)
        self._open += 1
        try:
            connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        except BaseException as error:
            self._forget()
            self.refuse(reason(error))
            if isinstance(error, psycopg.Error):
                raise Unavailable(self._refusal) from error
            raise
        self._good.add(connection)
        return connection

    async def _close(self, connection: Connection) -> None:
        self._good.discard(connection)
        self._forget()
        await connection.close()

    def _forget(self) -> None:
        self._open -= 1
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            *_, free = heapq.heappop(self._waiting)
            if not free.done():
                free.set_result(None)
                return


def cut(connection: Connection) -> None:
    """Break the line, so that whoever waits for an answer on it is told at once that it is lost.

    A mere cancellation would not do: psycopg then asks the server to cancel, and waits for that up to 10 s.
    """
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as line, suppress(OSError):  # the peer was faster
            line.shutdown(socket.SHUT_RDWR)
