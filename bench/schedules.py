"""Measure how soon very many schedules fire that are due at one moment, and what very many cost that are not.

    python -m bench.schedules [--due 10000] [--idle 100000] [--daemons 1]

Printed is when the last of the runs was enqueued, and the CPU of aikids and Postgres together while nothing is due; it
exits with 1 if one is above its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import uvloop

from aiki import Client
from aiki.client.when import When
from bench.costs import read_after, read_before
from bench.flows import nobody
from bench.servers import Cluster, cluster
from bench.workloads import PAYLOAD

DUE, IDLE = 10_000, 100_000
BATCH = 500
MOST_SECONDS = 5.0
MOST_PERCENT = 2.0
"""For each aikid."""
DECLARED_EACH_SECOND = 500
"""As many at least, so that all are there before they are due."""
REST_SECONDS, IDLE_SECONDS = 15.0, 60.0
_LAST = "SELECT count(*), extract(epoch FROM max(created_at) - %s)::float8 FROM aiki.runs WHERE fired IS NOT NULL"


def main() -> None:
    """Declare schedules, measure, print; exit with 1 if a figure is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--due", type=int, default=DUE)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--daemons", type=int, default=1)
    given = parser.parse_args()
    with cluster() as running:
        for _ in range(1, given.daemons):
            running.start_daemon()
        percent = uvloop.run(_idle(running, given.idle))
        print(f"{given.idle:,} schedules of which none is due: {percent:.2f} % of a core", flush=True)
        seconds = uvloop.run(_fire(running, given.due))
        print(f"{given.due:,} schedules due at once, {given.daemons} aikid: all fired after {seconds:.2f} s")
    sys.exit(1 if seconds > MOST_SECONDS or percent >= MOST_PERCENT * given.daemons else 0)


async def _fire(cluster: Cluster, count: int) -> float:
    """Return how long after the moment at which they are due the last run was enqueued."""
    moment = datetime.now(UTC).replace(second=0, microsecond=0)
    moment += timedelta(minutes=1 + (count / DECLARED_EACH_SECOND + 60) // 60)
    await _declare(cluster, "due", count, When(cron=f"{moment.minute} {moment.hour} * * *"))
    assert datetime.now(UTC) < moment, "they were not declared in time"
    async with await psycopg.AsyncConnection.connect(cluster.database_url, autocommit=True) as connection:
        while True:
            row = await (await connection.execute(_LAST, [moment])).fetchone()
            assert row is not None
            if row[0] == count:
                return float(row[1])
            await asyncio.sleep(0.2)


async def _idle(cluster: Cluster, count: int) -> float:
    """Return what aikids and Postgres take, in percent of a core."""
    await _declare(cluster, "idle", count, When(cron="0 0 1 1 *", timezone="Europe/Berlin"))
    await asyncio.sleep(REST_SECONDS)
    before = read_before(cluster.roots, cluster.database_url).cpu_seconds
    await asyncio.sleep(IDLE_SECONDS)
    after = read_after(cluster.roots, cluster.database_url).cpu_seconds
    return 100 * sum(after[name] - before[name] for name in ("aikid", "postgres")) / IDLE_SECONDS


async def _declare(cluster: Cluster, name: str, count: int, when: When) -> None:
    async with Client.connect(cluster.url) as client:
        for start in range(0, count, BATCH):
            names = [f"{name}-{number}" for number in range(start, min(start + BATCH, count))]
            await client.schedules.apply(f"{name}-{start}", {one: (nobody.bind(PAYLOAD), when) for one in names})


if __name__ == "__main__":
    main()
