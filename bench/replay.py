"""Measure how many entries a second `aiki replay` gets through, from a live server: many short runs, and few long ones.

    python -m bench.replay [--runs 2000] [--long 10]

The short runs have 10 entries each, the long ones 2,000. Counted is the whole command, its start and the import of the
code at hand included; beside it, from an export, without the server. It exits with 1 if a figure is below its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import uvloop

from aiki import Client, State
from aiki.client.matching import RunFilter
from aiki.replay import Code, Finding, Recording, replay_apart
from bench.flows import steps
from bench.servers import BIN, Cluster, cluster

SHORT_RUNS: Final = 2_000
SHORT_ENTRIES: Final = 10
LONG_RUNS: Final = 10
LONG_ENTRIES: Final = 2_000
LEAST_A_SECOND: Final = 5_000
BATCH: Final = 500
ROOT: Final = Path(__file__).parent.parent


def main() -> None:
    """Record runs, replay them, print; exit with 1 if one is not compatible, or a figure is below its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=SHORT_RUNS)
    parser.add_argument("--long", type=int, default=LONG_RUNS)
    options = parser.parse_args()
    is_good = True
    for runs, entries in ((options.runs, SHORT_ENTRIES), (options.long, LONG_ENTRIES)):
        if runs:
            with cluster() as running:
                is_good &= _measure(running, runs, entries)
    sys.exit(0 if is_good else 1)


def _measure(cluster: Cluster, runs: int, entries: int) -> bool:
    uvloop.run(_record(cluster, runs, entries))
    cluster.stop_workers()
    began = time.perf_counter()
    command = [str(BIN / "aiki"), "replay", "--workflow", "steps", "-m", "bench.flows", "-o", "json", "-q"]
    done = subprocess.run(command, env=cluster.environment, cwd=ROOT, capture_output=True, check=True)
    seconds = time.perf_counter() - began
    found = json.loads(done.stdout)
    if found["compatible"] != runs:
        sys.exit(f"{runs:,} runs were to be compatible: {found}")
    alone = uvloop.run(_replay_alone(cluster))
    rate, bare = found["entries"] / seconds, found["entries"] / alone
    told = f"{rate:,.0f} entries/s, {bare:,.0f} without command and server"
    print(f"{runs:,} runs of {entries:,} entries in {seconds:.2f} s: {told}", flush=True)
    return bool(rate >= LEAST_A_SECOND)


async def _record(cluster: Cluster, runs: int, entries: int) -> None:
    """Have so many runs come to their ends."""
    for _ in range(2):
        cluster.start_program(BIN / "aiki", "worker", "start", "-m", "bench.flows")
    async with Client.connect(cluster.url) as client:
        for start in range(0, runs, BATCH):
            count = min(BATCH, runs - start)
            await client.enqueue_many(steps.bind({"text": "x" * 100}, entries) for _ in range(count))
        while (await client.runs.count(states=[State.COMPLETED])).runs < runs:
            await asyncio.sleep(0.5)


async def _replay_alone(cluster: Cluster) -> float:
    """Return the seconds that the replay alone takes, once all is in memory."""
    async with Client.connect(cluster.url) as client:
        recordings = [one async for one in client.runs.export(RunFilter(workflow="steps", states=list(State)))]

    async def given() -> AsyncGenerator[Recording, None]:
        for one in recordings:
            yield one

    began = time.perf_counter()
    async with aclosing(replay_apart(given(), Code(["bench.flows"], [ROOT]))) as found:
        async for verdict in found:
            assert verdict.finding is Finding.COMPATIBLE, verdict
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
