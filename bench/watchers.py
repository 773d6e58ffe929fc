"""Measure W1 and W2 beside people who look on: 20 who follow runs in full, and one who follows the namespace.

    python -m bench.watchers [--rounds 7]

Those who look on live in a process of their own, and follow runs of the workload, new ones as the old ones end. Rounds
alone and rounds beside them take turns, each first in every other pair. Printed are the medians and their ratio, and
what was seen meanwhile. It exits with 1 if a ratio is below 0.95.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from aiki import Client, NotFound
from bench.servers import Cluster, cluster
from bench.workloads import w1, w2

ROUNDS = 7
WATCHERS = 20
LEAST = 0.95
LOOK_SECONDS = 0.5
STOP_SECONDS = 20.0
WATCH = "--watch"


def main() -> None:
    """Measure, print, and exit with 1 if a bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(WATCH, metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watch is not None:
        asyncio.run(_watch(Path(given.watch)))
        return
    with cluster() as servers:
        sys.exit(asyncio.run(_measure(servers, given.rounds)))


async def _measure(servers: Cluster, rounds: int) -> int:
    servers.start_worker("--max-concurrent-runs", "100")
    async with Client.connect(servers.url) as client:
        while (await client.runs.summary()).workers == 0:
            await asyncio.sleep(0.05)
        await w1(client, n=500, k=5)
        worst = 1.0
        for name, work in (
            ("W1 n=1000 k=5", lambda: _seconds_of_w1(client)),
            ("W2 l=300", lambda: _seconds_of_w2(client)),
        ):
            worst = min(worst, await _compare(servers, name, work, rounds))
        servers.stop_workers()
    return int(worst < LEAST)


async def _seconds_of_w1(client: Client) -> float:
    return (await w1(client, n=1_000, k=5)).seconds


async def _seconds_of_w2(client: Client) -> float:
    return (await w2(client, l=300)).seconds


async def _compare(servers: Cluster, name: str, work: Callable[[], Awaitable[float]], rounds: int) -> float:
    """Return how fast the work is beside those who look on: as a part of how fast it is alone."""
    alone: list[float] = []
    beside: list[float] = []
    views = 0
    for turn in range(rounds):
        for is_watched in (False, True) if turn % 2 == 0 else (True, False):
            if not is_watched:
                alone.append(await work())
                continue
            with _watching(servers) as seen:
                beside.append(await work())
            views += seen()
    ratio = statistics.median(alone) / statistics.median(beside)
    print(
        f"{name}: {statistics.median(alone):.3f} s alone, {statistics.median(beside):.3f} s beside {WATCHERS} watchers"
        f" and one of the namespace ({views:,} views): {ratio:.3f} of the rate, at least {LEAST}",
        flush=True,
    )
    return ratio


@contextlib.contextmanager
def _watching(servers: Cluster) -> Iterator[Callable[[], int]]:
    """Have others look on; yields what tells in the end how many views they have seen."""
    told = servers.home / "views"
    told.unlink(missing_ok=True)
    # Whoever is there is ready: its file stands from then on.
    process = servers.start_program(sys.executable, "-m", "bench.watchers", WATCH, told)
    try:
        while not told.exists() and process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield lambda: int(told.read_text() or 0)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


async def _watch(told: Path) -> None:
    """Follow the newest runs and the namespace, and say how many views have come, until this process is ended."""
    views = 0

    async def follow(client: Client, run_id: str) -> None:
        nonlocal views
        with contextlib.suppress(NotFound):
            async for _ in client.handle(run_id).follow():
                views += 1

    async def follow_namespace(client: Client) -> None:
        nonlocal views
        async for _ in client.runs.summaries():
            views += 1

    async with Client.connect(os.environ["AIKI_URL"]) as client, asyncio.TaskGroup() as group:
        group.create_task(follow_namespace(client))
        followed: dict[str, asyncio.Task[None]] = {}
        while True:
            _tell(told, views)
            followed = {run_id: task for run_id, task in followed.items() if not task.done()}
            page = await client.runs.list(limit=WATCHERS)
            for run in page.runs:
                if len(followed) < WATCHERS and run.run_id not in followed:
                    followed[run.run_id] = group.create_task(follow(client, run.run_id))
            await asyncio.sleep(LOOK_SECONDS)


def _tell(told: Path, views: int) -> None:
    told.write_text(str(views))


if __name__ == "__main__":
    main()
