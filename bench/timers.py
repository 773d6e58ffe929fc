"""Measure how soon sleeps end: very many that are due in the same second, and short ones, alone and beside many.

    python -m bench.timers [--sleeps 10000] [--naps 200] [--others 1000]

Each run tells by its machine's clock, which is its database's too, when its first task after the sleep began. Printed
are when the first and the last of those that are due together began, and the time from a sleep of 100 ms to what comes
after it; it exits with 1 if one began early, or a figure is above its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

import uvloop

from aiki import Client, State
from bench.resources import until
from bench.servers import Cluster, cluster
from bench.sleepers import nap, until_date

SLEEPS: Final = 10_000
OTHERS: Final = 1_000
NAPS: Final = 200
MOST_SECONDS: Final = 5.0
SHORT_MS: Final = 100
MOST_MS: Final = 150.0
PARKED_A_SECOND: Final = 250
"""So slowly at least runs come to rest that are enqueued at once."""
BATCH: Final = 500


def main() -> None:
    """Let runs sleep, measure, print; exit with 1 if one went on early or a figure is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sleeps", type=int, default=SLEEPS)
    parser.add_argument("--others", type=int, default=OTHERS)
    parser.add_argument("--naps", type=int, default=NAPS)
    options = parser.parse_args()
    is_good = True
    with cluster() as running:
        if options.sleeps:
            is_good &= uvloop.run(_together(running, options.sleeps))
        for others in (0, options.others) if options.naps else ():
            uvloop.run(_let_sleep(running, others))
            for linger in ("10s", "0s"):
                is_good &= uvloop.run(_one_by_one(running, linger, options.naps, beside=others))
    sys.exit(0 if is_good else 1)


async def _together(cluster: Cluster, sleeps: int) -> bool:
    """Let so many sleeps be due within one second; tell whether all went on in time."""
    cluster.start_program(sys.executable, "-m", "bench.sleepers", "0s")
    async with Client.connect(cluster.url) as client:
        due = datetime.now(UTC) + timedelta(seconds=10 + sleeps / PARKED_A_SECOND)
        dates = [due + timedelta(seconds=n / sleeps) for n in range(sleeps)]
        handles = [
            handle
            for start in range(0, sleeps, BATCH)
            for handle in await client.enqueue_many(until_date.bind(date) for date in dates[start : start + BATCH])
        ]
        await until(client, State.SLEEPING, sleeps)
        if datetime.now(UTC) > due:
            sys.exit(f"{sleeps:,} runs did not come to rest in time: this machine is too busy")
        late = await asyncio.gather(*(handle.result() for handle in handles))
    await asyncio.to_thread(cluster.stop_workers)
    first = min(late)
    last = max(date.timestamp() + by for date, by in zip(dates, late, strict=True)) - due.timestamp()
    told = f"the first {1e3 * first:.0f} ms late, the last after {last:.2f} s"
    print(f"{sleeps:,} sleeps due within a second: {told}", flush=True)
    return first >= 0 and last <= MOST_SECONDS


async def _let_sleep(cluster: Cluster, others: int) -> None:
    """Let so many runs sleep for longer than anything is measured."""
    cluster.start_program(sys.executable, "-m", "bench.sleepers", "0s")
    async with Client.connect(cluster.url) as client:
        await client.enqueue_many(nap.bind(3_600_000) for _ in range(others))
        await until(client, State.SLEEPING, others)
    await asyncio.to_thread(cluster.stop_workers)


async def _one_by_one(cluster: Cluster, linger: str, naps: int, *, beside: int) -> bool:
    """Let short sleeps follow each other beside so many long ones; tell whether they ended in time."""
    cluster.start_program(sys.executable, "-m", "bench.sleepers", linger)
    async with Client.connect(cluster.url) as client:
        took = [await (await nap.enqueue(client, SHORT_MS)).result() for _ in range(naps)]
    await asyncio.to_thread(cluster.stop_workers)
    milliseconds = sorted(1e3 * seconds for seconds in took)
    p50, p95 = (milliseconds[len(milliseconds) * q // 100] for q in (50, 95))
    where = f"beside {beside:,} that sleep" if beside else "alone"
    print(f"a sleep of {SHORT_MS} ms, linger {linger}, {where}: {p50:.1f} ms p50, {p95:.1f} ms p95", flush=True)
    return milliseconds[0] >= SHORT_MS and p95 <= MOST_MS


if __name__ == "__main__":
    main()
