"""Own the clock of a conformance test's database: it stands still, and goes on only as far as it is told to.

All that the daemon does goes by it, and so do the worker's clocks, which come from the daemon's replies. So what is
written is the same to the microsecond however fast the machine is. Leases move along: nobody's runs out by a jump.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

EPOCH: Final = 1_767_225_600_000_000
"""2026-01-01, 0:00 UTC."""
_FUNCTION: Final = """
CREATE OR REPLACE FUNCTION aiki.{name}() RETURNS timestamptz LANGUAGE sql {volatility}
AS 'SELECT at FROM public.moment'
"""
_MOMENT: Final = "'epoch'::timestamptz + %s * interval '1 microsecond'"
_MICROSECONDS: Final = "(extract(epoch FROM {}) * 1000000)::int8"
# What looks by itself looks at these: runs, deadlines and schedules.
_NEXT: Final = f"""
SELECT {_MICROSECONDS.format("min(at)")} FROM (
  SELECT due_at AS at FROM aiki.runs WHERE state IN ('scheduled', 'sleeping', 'retrying', 'waiting')
  UNION ALL SELECT look_at FROM aiki.deadlines UNION ALL SELECT due_at FROM aiki.schedules
) AS due WHERE at > aiki.now()
"""
_TABLES: Final = """
SELECT tablename FROM pg_tables WHERE schemaname = 'aiki' AND tablename NOT IN ('sessions', 'sweeps', 'alembic_version')
"""


class Clock:
    """The clock of one database. `now` is in microseconds since 1970."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.now = EPOCH

    async def stop(self) -> None:
        """Have the database go by it from now on."""
        async with await psycopg.AsyncConnection.connect(self._database, autocommit=True) as connection:
            await connection.execute(f"CREATE TABLE public.moment AS SELECT {_MOMENT} AS at".encode(), [self.now])
            for name, volatility in (("now", "STABLE"), ("clock", "VOLATILE")):
                await connection.execute(_FUNCTION.format(name=name, volatility=volatility).encode())

    async def begin(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Go back to the beginning, where nothing has been: no two plays see anything of each other."""
        tables = [name for (name,) in await (await connection.execute(_TABLES.encode())).fetchall()]
        await connection.execute("; ".join(f"DELETE FROM aiki.{name}" for name in tables).encode())
        await self.move(connection, EPOCH)

    async def move(self, connection: psycopg.AsyncConnection[Any], to: int) -> None:
        """Go on to this moment, and with it all leases."""
        passed, self.now = to - self.now, to
        async with connection.transaction():
            await connection.execute(f"UPDATE public.moment SET at = {_MOMENT}".encode(), [to])
            longer = "+ %s * interval '1 microsecond'"
            await connection.execute(f"UPDATE aiki.sessions SET expires_at = expires_at {longer}".encode(), [passed])
            await connection.execute(f"UPDATE aiki.sweeps SET swept_at = swept_at {longer}".encode(), [passed])

    async def next_due(self, connection: psycopg.AsyncConnection[Any]) -> int | None:
        """Return when somebody has to look next."""
        row = await (await connection.execute(_NEXT.encode())).fetchone()
        assert row is not None
        due: int | None = row[0]
        return due
