"""Own how tests set the clock: the database's, and the one that a worker measures its lease by.

Every statement takes its time from `aiki.now()` and `aiki.clock()`. Postgres puts both into a statement, and when one
is replaced it plans anew what was prepared: so a daemon sees the new time with its next statement. A worker asks
`time.clock_gettime` for all that goes on while the machine sleeps, and `time.monotonic` for nothing durable.
"""

from __future__ import annotations

import time
from typing import Final

import psycopg
import pytest

HOUR: Final = 3600.0
_READS: Final = {"now": ("STABLE", "pg_catalog.now()"), "clock": ("VOLATILE", "pg_catalog.clock_timestamp()")}


async def set_database_clock(database: str, *, ahead_seconds: float) -> None:
    """Let the database's clock be so far ahead of the machine's from now on; behind it, if that is negative."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        for name, (volatility, reads) in _READS.items():
            await connection.execute(
                f"CREATE OR REPLACE FUNCTION aiki.{name}() RETURNS timestamptz LANGUAGE sql {volatility} PARALLEL SAFE"
                f" RETURN {reads} + interval '{ahead_seconds} seconds'".encode()
            )


def sleep_machine(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Do to this process what a machine that slept for so long does: time has gone on, and no clock of a loop."""
    awake = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: awake(clock) + seconds)
    awake_ns = time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: awake_ns(clock) + round(seconds * 1e9))
