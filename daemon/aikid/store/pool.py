"""Own how a statement gets to Postgres and what its failure means to the caller.

Hot statements run on a few psycopg connections in autocommit with prepared, generic plans: one statement is one
transaction, and a checkout costs a list pop. Cold statements are SQLAlchemy Core, compiled here, on connections of
their own, so that a long list never delays a record. Both obey the same table of fates.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import copy
from typing import Any, Final, Self, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from sqlalchemy.dialects.postgresql.psycopg import dialect

from aiki.core.errors import Unavailable
from aiki.process.outages import Outage
from aikid.store import fates, options
from aikid.store.address import parameters
from aikid.store.connections import Connection, Connections, Priority, cut
from aikid.store.fates import Fate, reason
from aikid.store.options import Options, as_words
from aikid.store.refusals import of_failure

__all__ = ["BadData", "Collision", "Connection", "Pool", "Priority"]

log = logging.getLogger("aikid.store")

T = TypeVar("T")

ANSWER_SECONDS: Final = 4.5
"""Within so long each call is answered, with `Unavailable` if Postgres hangs: the wait for a connection, the statement
and its repeats together. A statement that is merely slow is ended by `statement_timeout` before."""
_TRIES: Final = 8
_COLLISIONS: Final = 5
_RENEWALS: Final = 2
_COLD_SIZE: Final = 4
_DIALECT: Final = dialect()  # type: ignore[no-untyped-call]


class BadData(Exception):
    """Postgres refused a value of this batch; whoever sent it must be found and told."""


class Collision(Unavailable):
    """A batch writes the same key each time, so twice by itself: apart its calls may all go well."""


class Pool:
    """Connections to one database. `run` is for hot statements, `read` for cold ones.

    Whoever waits for a connection waits as a reader does; `at` gives the pool to others.
    """

    def __init__(self, database_url: str, *, size: int) -> None:
        self.outage = Outage(log, "Postgres")
        """What the log says while Postgres is away: the loops tell it, who need it every second."""

        def connections(asked: Options, size: int) -> Connections:
            return Connections(make_conninfo(**parameters(database_url, options=as_words(asked))), size=size)

        self._hot = connections(options.HOT, size)
        self._cold = connections(options.COLD, _COLD_SIZE)
        self.priority = Priority.READ
        """Who gets the next free connection before others."""

    @property
    def lent(self) -> int:
        """How many times work has asked for a connection for hot statements."""
        return self._hot.lent

    def at(self, priority: Priority) -> Self:
        """Return this pool, the same connections, as those have it who are to wait by `priority`."""
        made = copy(self)
        made.priority = priority
        return made

    def run(self, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool = True) -> Coroutine[Any, Any, T]:
        """Return what `work` returns on a connection in autocommit; it is repeated whole after a transient failure.

        With `repeatable=False` it is not repeated once its outcome is unknown. Raises Unavailable within
        ANSWER_SECONDS if Postgres cannot be reached or used, Collision if the work meets a key that is there again and
        again, BadData if it refused a value, psycopg.Error if a statement of ours is wrong.
        """
        return self._carry_out(self._hot, work, repeatable=repeatable)

    async def read(self, statement: sa.ClauseElement) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a cold statement. Its parameters must be what psycopg knows. Raises as `run` does."""
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})

        async def work(connection: Connection) -> Sequence[tuple[Any, ...]]:
            return await (await connection.execute(compiled.string.encode(), compiled.params)).fetchall()

        return await self._carry_out(self._cold, work)

    async def open(self) -> None:
        """Open all hot connections, so that no request waits for one, and look at what they are.

        Raises ConfigError if they lack the settings that statements rely on, Denied, Unavailable.
        """
        try:
            await self._hot.open(until=asyncio.get_running_loop().time() + ANSWER_SECONDS)
        except Unavailable as error:
            if isinstance(cause := error.__cause__, psycopg.Error):
                raise of_failure(cause, closed=True) from cause
            raise
        await self.run(lambda connection: options.check(connection, options.HOT))

    async def aclose(self) -> None:
        """Close all connections. Work in flight must have ended."""
        await self._renew()

    async def _carry_out(
        self, connections: Connections, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool = True
    ) -> T:
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_SECONDS
        renewals = collisions = 0
        for tries in range(1, _TRIES + 1):
            connection = await connections.acquire(self.priority, until=until)
            cutting = loop.call_at(until, cut, connection)
            try:
                return await work(connection)
            except psycopg.Error as error:
                fate = _fate(error, connection)
                if fate is Fate.RENEW:
                    renewals += 1
                    if connections.is_current(connection):
                        await self._renew()
                if isinstance(error, psycopg.errors.UniqueViolation):
                    collisions += 1
                    if collisions == _COLLISIONS:  # of another's work the next snapshot would have told
                        raise Collision(f"Postgres cannot take it now: {reason(error)}") from error
                is_late = loop.time() >= until
                is_unknown = connection.closed and not repeatable
                if fate is Fate.WAIT or is_unknown or is_late or tries == _TRIES or renewals > _RENEWALS:
                    why = f"no answer within {ANSWER_SECONDS:g} s" if is_late else reason(error)
                    if fate is Fate.RENEW:
                        connections.refuse(why)
                    raise Unavailable(f"Postgres cannot be used now: {why}") from error
            finally:
                cutting.cancel()
                await connections.release(connection)
            await asyncio.sleep(random.uniform(0.001, 0.01) * tries)  # noqa: S311
        raise AssertionError("the last try returns or raises")

    async def _renew(self) -> None:
        await self._hot.renew()
        await self._cold.renew()


def _fate(error: psycopg.Error, connection: Connection) -> Fate:
    """Return the fate of a failure that may pass. Raises BadData for one of the caller's, `error` itself for ours."""
    fate = fates.of_error(error, closed=connection.closed)
    if fate is Fate.BUG:
        raise error
    if fate is Fate.REFUSE:
        raise BadData(reason(error)) from error
    return fate
