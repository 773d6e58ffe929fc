"""Measure what aikid costs while very many runs wait for an event outside of any worker, and nothing happens.

    python -m bench.waiting [--runs 100000]

The runs come to rest the ordinary way; then their worker ends. Printed are aikid's memory and its CPU when idle; it
exits with 1 if one is above its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop

from aiki import Client, State
from bench.events import waiter
from bench.resources import BATCH, busy_percent, resident_mb, until
from bench.servers import Cluster, cluster

RUNS = 100_000
CONCURRENCY = 200
MOST_MB = 150.0
MOST_PERCENT = 2.0


def main() -> None:
    """Let runs wait, measure, print; exit with 1 if a figure is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    with cluster() as running:
        uvloop.run(_let_wait(running, runs))
        percent = uvloop.run(busy_percent([running.daemon.pid]))
        megabytes = resident_mb(running.daemon.pid)
    print(f"aikid with {runs:,} waiting runs: {megabytes:.1f} MB, {percent:.2f} % of a core when idle")
    sys.exit(1 if megabytes > MOST_MB or percent >= MOST_PERCENT else 0)


async def _let_wait(cluster: Cluster, runs: int) -> None:
    worker = cluster.start_worker("--max-concurrent-runs", str(CONCURRENCY), flows="bench.events")
    async with Client.connect(cluster.url) as client:
        for enqueued in range(0, runs, BATCH):
            count = min(BATCH, runs - enqueued)
            await client.enqueue_many(waiter.bind() for _ in range(count))
            await until(client, State.WAITING, enqueued + count)
    worker.terminate()
    await asyncio.to_thread(worker.wait, 60)


if __name__ == "__main__":
    main()
