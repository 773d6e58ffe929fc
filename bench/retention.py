"""Measure the deletion of finished runs: how fast it goes, what W1 pays for it, and what room it leaves behind.

    python -m bench.retention [--runs 1000000] [--rounds 5]

So many finished runs are loaded; W1 is measured alone, then while they are deleted, then alone again. What is left goes
on an idle daemon. Then as many are loaded once more. Printed are the rate of the deletion beside W1 and after it, W1 by
the median of its rounds, and the bytes of tables and indexes, with dead rows, at each stage. It exits with 1 if W1 is
slower by more than 3 % beside the deletion, or what is stored at the end is more than 1.1 times what it was at first.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from aiki import Client
from bench import finished
from bench.finished import NAMESPACE, OTHER
from bench.servers import Cluster, cluster
from bench.workloads import w1

RUNS = 1_000_000
ROUNDS = 5
MOST_SLOWER = 1.03
MOST_ROOM = 1.1
PERIOD = "1m"
PASS_SECONDS = 65.0
"""Within so long a daemon has looked again what is to be kept."""
VACUUM_SECONDS = 300.0
DEAD = 0.05
"""Dead rows for each run that may stay: autovacuum begins at a fiftieth of a table."""
ENDED = "SELECT count(*) FROM (SELECT FROM aiki.ended LIMIT {}) AS counted"
STORIES = """
INSERT INTO aiki.run_history (run_id, seq, at, move)
SELECT r.id, n, r.finished_at, 'claim' FROM aiki.runs r CROSS JOIN generate_series(1, 2) AS n ON CONFLICT DO NOTHING
"""
SIZES = """
SELECT sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint, sum(coalesce(s.n_dead_tup, 0))::bigint
FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE c.relnamespace = 'aiki'::regnamespace
"""


@dataclass(frozen=True, slots=True)
class Room:
    """What is stored: the bytes of tables and of indexes, and dead rows."""

    stage: str
    tables: int
    indexes: int
    dead: int

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.tables + self.indexes


def main() -> None:
    """Measure, print, and exit with 1 if a bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with cluster() as servers:
        sys.exit(asyncio.run(_Measuring(servers, given.runs, given.rounds).run()))


class _Measuring:
    def __init__(self, servers: Cluster, runs: int, rounds: int) -> None:
        self._servers = servers
        self._runs = runs
        self._rounds = rounds
        self._rooms: list[Room] = []

    async def run(self) -> int:
        """Take all stages, print what they come to, and return the exit code."""
        self._load()
        self._look("loaded")
        self._servers.start_worker("--max-concurrent-runs", "100")
        async with Client.connect(self._servers.url, namespace=NAMESPACE) as client:
            while (await client.runs.summary()).workers == 0:
                await asyncio.sleep(0.05)
            await w1(client, n=500, k=5)
            alone = await self._rounds_of(client, lambda: True)
            await self._say({"*": PERIOD})
            await self._until(lambda: self._left() < self._runs, "the first is deleted")
            beside, rate = await self._beside(client)
            self._servers.stop_workers()
        idle = await self._rest()
        await self._settle()
        self._look("deleted")
        await self._say({})
        await asyncio.sleep(PASS_SECONDS)
        self._load()
        self._look("loaded again")
        return self._print(alone, beside, rate, idle)

    async def _rounds_of(self, client: Client, goes_on: Callable[[], bool]) -> list[float]:
        """Return the seconds of W1, round by round, as long as it goes on."""
        seconds: list[float] = []
        while len(seconds) < self._rounds and goes_on():
            seconds.append((await w1(client, n=1_000, k=5)).seconds)
        return seconds

    async def _beside(self, client: Client) -> tuple[list[float], float]:
        """Return the rounds of W1 beside the deletion, and how many runs a second that deletes meanwhile."""
        before, began = self._left(), time.perf_counter()
        seconds = await self._rounds_of(client, lambda: self._left() > 0)
        made = 1_000 * len(seconds)  # they have ended, too, and stay for their minute
        return seconds, (before + made - self._left()) / (time.perf_counter() - began)

    async def _rest(self) -> float:
        """Return how many runs a second are deleted on an idle daemon."""
        kept = 1_000 * 2 * self._rounds + 500  # what W1 has left stays for its minute
        before, began = self._left(), time.perf_counter()
        await self._until(lambda: self._left() <= kept, "all but the last are deleted")
        return (before - self._left()) / (time.perf_counter() - began)

    async def _say(self, policies: dict[str, str]) -> None:
        for namespace in (NAMESPACE, OTHER):
            async with Client.connect(self._servers.url, namespace=namespace) as client:
                await client.retention.apply("bench", policies, prune=True)

    async def _settle(self) -> None:
        """Wait until all is deleted, and autovacuum has been there: as it comes by itself."""
        await self._until(lambda: self._left() == 0, "the last is deleted")
        until = time.monotonic() + VACUUM_SECONDS
        while self._room("").dead > DEAD * self._runs and time.monotonic() < until:
            await asyncio.sleep(2)

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + 300 + self._runs / 100
        while not holds():
            if time.monotonic() > until:
                raise RuntimeError(f"not within its time: {what}")
            await asyncio.sleep(0.2)

    def _load(self) -> None:
        finished.load(self._servers.database_url, self._runs)
        self._ask(STORIES)

    def _left(self) -> int:
        return self._ask(ENDED.format(2 * self._runs + 100_000))[0]

    def _look(self, stage: str) -> None:
        self._rooms.append(self._room(stage))

    def _room(self, stage: str) -> Room:
        return Room(stage, *self._ask(SIZES))

    def _ask(self, statement: str) -> tuple[int, ...]:
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return tuple(map(int, cursor.fetchone() or ())) if cursor.description else ()

    def _print(self, alone: list[float], beside: list[float], rate: float, idle: float) -> int:
        slower = statistics.median(beside) / statistics.median(alone) if beside else 1.0
        first, *_, last = self._rooms
        print(f"{'':14} {'tables, MB':>12} {'indexes, MB':>12} {'dead rows':>12}")
        for room in self._rooms:
            print(f"{room.stage:14} {room.tables / 1e6:12.1f} {room.indexes / 1e6:12.1f} {room.dead:12,}")
        print(f"deleted beside W1: {rate:,.0f} runs/s; on an idle daemon: {idle:,.0f} runs/s")
        rounds = f"{len(alone)} rounds alone, {len(beside)} beside"
        print(f"W1 beside the deletion takes {slower:.3f} times as long ({rounds}); at most {MOST_SLOWER}")
        print(f"stored at the end is {last.bytes / first.bytes:.3f} times what it was; at most {MOST_ROOM}")
        return int(slower > MOST_SLOWER or last.bytes > MOST_ROOM * first.bytes)


if __name__ == "__main__":
    main()
