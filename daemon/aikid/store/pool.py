"""Own the connections to Postgres: who gets one, what is repeated, and what a failure means to the caller.

Hot statements run on a few psycopg connections in autocommit with prepared, generic plans: one statement is one
transaction, and a checkout costs a list pop (SQLAlchemy's `begin()` costs three times the CPU of the statement).
Cold statements are SQLAlchemy Core on a small engine of their own, so that a long list never delays a record.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, IntEnum
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from aiki.core.errors import Unavailable
from aikid.store.migrate import driver_url

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]

_WORK_SECONDS: Final = 8.0
"""A call that takes longer is given up: Postgres hangs. `statement_timeout` ends a mere slow one before."""
_TRIES: Final = 8
_PAUSE_SECONDS: Final = 0.2
"""How long requests are refused at once after Postgres refused a connection."""
# The plans of hot statements are made once and must stay good while tables grow from empty to millions, which they do
# long before the first ANALYZE: always nested loops into an index, never a scan of what looks small. `lock_timeout`
# bounds a wait for a row; the statement is then repeated whole.
_HOT_OPTIONS: Final = (
    "-c synchronous_commit=on -c lock_timeout=200ms -c statement_timeout=5s"
    " -c idle_in_transaction_session_timeout=10s -c plan_cache_mode=force_generic_plan -c jit=off"
    " -c enable_seqscan=off -c enable_bitmapscan=off -c enable_mergejoin=off -c enable_hashjoin=off"
    " -c enable_material=off -c random_page_cost=1.1"
)
_COLD_OPTIONS: Final = (
    "-c statement_timeout=5s -c lock_timeout=1s -c idle_in_transaction_session_timeout=10s -c jit=off"
)
_LIBPQ: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "tcp_user_timeout": 15_000,
}


class Priority(IntEnum):
    """Who gets the next free connection: what keeps claims alive first, new work last."""

    LEASE = 0
    RECORD = 1
    LOOP = 2
    CLAIM = 3
    ENQUEUE = 4
    READ = 5


class BadData(Exception):
    """Postgres refused a value of this batch; whoever sent it must be found and told."""


class _Fate(Enum):
    REPEAT = "repeat"
    LOST = "lost"
    BAD_DATA = "bad data"
    DOWN = "down"
    BUG = "bug"


class Pool:
    """Connections to one database. `run` is for hot statements, `read` and `write` for cold ones."""

    def __init__(self, database_url: str, *, size: int) -> None:
        url = driver_url(database_url)
        # Not the rendered URL: it writes a space as `+`, which libpq does not take back.
        address: dict[str, Any] = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        self._conninfo = make_conninfo(
            **address,
            application_name="aikid",
            options=_HOT_OPTIONS,
            **_LIBPQ,
        )
        self._size = size
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._turn = itertools.count()
        self._down_until = 0.0
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=2,
            max_overflow=2,
            pool_timeout=2,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            connect_args={**_LIBPQ, "application_name": "aikid", "options": _COLD_OPTIONS},
        )

    async def run(
        self, work: Callable[[Connection], Awaitable[T]], *, priority: Priority, repeatable: bool = True
    ) -> T:
        """Return what `work` returns on a connection in autocommit; it is repeated whole after a transient failure.

        With `repeatable=False` it is not repeated once its outcome is unknown. Raises Unavailable if Postgres cannot
        be reached or used, BadData if it refused a value, psycopg.Error if a statement of ours is wrong.
        """
        for attempt in range(1, _TRIES + 1):
            connection = await self._acquire(priority)
            try:
                async with asyncio.timeout(_WORK_SECONDS):
                    return await work(connection)
            except (psycopg.Error, TimeoutError) as error:
                fate = _fate(error, connection)
                if fate is _Fate.BUG:
                    raise
                if fate is _Fate.BAD_DATA:
                    raise BadData(_first_line(error)) from error
                if fate is _Fate.LOST:
                    await self._drop_idle()
                may_repeat = fate is _Fate.REPEAT or (fate is _Fate.LOST and repeatable)
                if not may_repeat or attempt == _TRIES:
                    raise Unavailable(f"Postgres did not answer: {_first_line(error)}") from error
            finally:
                await self._release(connection)
            await asyncio.sleep(random.uniform(0.001, 0.01) * attempt)  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    async def read(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Return the rows of a cold statement, in a transaction of its own. Raises Unavailable."""
        try:
            async with asyncio.timeout(_WORK_SECONDS), self._engine.connect() as connection:
                return (await connection.execute(statement)).all()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, TimeoutError, OSError) as error:
            raise Unavailable(f"Postgres did not answer: {_first_line(error)}") from error

    async def open(self) -> None:
        """Open all hot connections, so that no request waits for one. Raises Unavailable."""
        opened = await asyncio.gather(*(self._acquire(Priority.LOOP) for _ in range(self._size)))
        for connection in opened:
            await self._release(connection)

    async def aclose(self) -> None:
        """Close all connections. Work in flight must have ended."""
        await self._drop_idle()
        await self._engine.dispose()

    async def _acquire(self, priority: Priority) -> Connection:
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
        now = asyncio.get_running_loop().time()
        if now < self._down_until:
            self._wake_one()
            raise Unavailable("Postgres cannot be reached")
        self._open += 1
        try:
            return await AsyncConnection.connect(self._conninfo, autocommit=True)
        except psycopg.Error as error:
            self._forget()
            self._down_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
            raise Unavailable(f"Postgres cannot be reached: {_first_line(error)}") from error
        except BaseException:
            self._forget()
            raise

    async def _release(self, connection: Connection) -> None:
        if connection.closed or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self._forget()
            await connection.close()
        else:
            self._idle.append(connection)
            self._wake_one()

    def _forget(self) -> None:
        self._open -= 1
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            *_, free = heapq.heappop(self._waiting)
            if not free.done():
                free.set_result(None)
                return

    async def _drop_idle(self) -> None:
        # If one connection is gone, the server restarted most likely, and those that idle are gone too.
        idle, self._idle = self._idle, []
        for connection in idle:
            self._forget()
            await connection.close()


def _fate(error: psycopg.Error | TimeoutError, connection: Connection) -> _Fate:
    match error:
        case (
            psycopg.errors.SerializationFailure()
            | psycopg.errors.DeadlockDetected()
            | psycopg.errors.LockNotAvailable()
            # The journal was written between the statement's snapshot and its lock: the next snapshot sees it.
            | psycopg.errors.UniqueViolation()
        ):
            return _Fate.REPEAT
        case psycopg.DataError() | psycopg.errors.ProgramLimitExceeded() | psycopg.errors.CheckViolation():
            return _Fate.BAD_DATA
        case TimeoutError():
            return _Fate.DOWN
        case _ if connection.closed or connection.broken:
            return _Fate.LOST
        case psycopg.OperationalError():
            return _Fate.DOWN
        case _:
            return _Fate.BUG


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
