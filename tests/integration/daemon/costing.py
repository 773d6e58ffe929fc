"""A pool that counts the pages of Postgres that its statements look at, by EXPLAIN."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aikid.store.pool import Connection, Pool

T = TypeVar("T")


class CountingPool(Pool):
    """A Pool that explains each statement before it carries it out. For statements that only read."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url, size=1)
        self.buffers = 0
        """Pages looked at, in the server's memory or not; a page that is looked at twice counts twice."""
        self.plans: list[Any] = []

    async def _carry_out(self, connections: Any, work: Callable[[Connection], Awaitable[T]], **how: Any) -> T:
        async def explained(connection: Connection) -> T:
            return await work(_Explaining(connection, self))  # type: ignore[arg-type]

        return await super()._carry_out(connections, explained, **how)


class _Explaining:
    def __init__(self, connection: Connection, pool: CountingPool) -> None:
        self._connection = connection
        self._pool = pool

    async def execute(self, statement: str | bytes, parameters: Any = None, **how: Any) -> Any:
        text = statement.encode() if isinstance(statement, str) else statement
        cursor = await self._connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text, parameters)
        ((told,),) = await cursor.fetchall()
        plan = told[0]["Plan"]
        self._pool.buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self._pool.plans.append(plan)
        return await self._connection.execute(text, parameters, **how)


class CountedPool(Pool):
    """A Pool that counts how often it sends work to Postgres."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url, size=1)
        self.count = 0

    async def _carry_out(self, connections: Any, work: Callable[[Connection], Awaitable[T]], **how: Any) -> T:
        self.count += 1
        return await super()._carry_out(connections, work, **how)
