"""Measure each reader, W1 and W2 with millions of finished runs, beside the same with as few as fill what is shown.

    python -m bench.large [--runs 5000000] [--folder .bench] [--repeat 5]

The data are loaded once, into a folder that is kept (1 GB for a million runs): `large-RUNS` in the folder, for which
Postgres, nats-server and aikid are started each time. W1 and W2 leave some thousand runs more there. Measurements
of one thing stand beside each other; printed are their medians and the ratio, which is to be 1.2 at most.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from aiki import Client, State
from aiki.core.states import TERMINAL
from bench import finished
from bench.finished import ERRORS, KEY, NAMESPACE, OLD, WORKFLOWS
from bench.flows import nobody
from bench.servers import Cluster
from bench.workloads import PAYLOAD, w1, w2

RUNS = 5_000_000
FOLDER = Path(".bench")
REPEAT = 5
FEW = 40_000
"""Finished runs that fill each page and each count."""
MOST = 1.2
LIVE = 100
"""Runs in each database that have not ended, and on a page."""
TURNS = 20
"""Times that a reader is asked for one measurement."""
CONCURRENCY = 100
LOADED = "loaded"
"""The file that says that a folder's data are whole."""

PREFIX = KEY.partition("{")[0]
SOME_KEY, SOME_WORKFLOW = KEY.format(30_001), WORKFLOWS[30_001 % 3]
"""Of a run that is in both."""

Reader = Callable[[Client, list[str]], Awaitable[object]]
READERS: dict[str, Reader] = {
    "status of 20 runs": lambda client, ids: client.runs.status(ids[:20]),
    "status of a run": lambda client, ids: client.runs.status(ids[:1]),
    "summary": lambda client, _: client.runs.summary(),
    "find by the start": lambda client, ids: client.runs.find(ids[0][:20]),
    "find by the end": lambda client, ids: client.runs.find(ids[0][-8:]),
    "list": lambda client, _: client.runs.list(limit=LIVE),
    "list --state queued": lambda client, _: client.runs.list(states=[State.QUEUED], limit=LIVE),
    "list --state running": lambda client, _: client.runs.list(states=[State.RUNNING], limit=LIVE),
    "list --state blocked": lambda client, _: client.runs.list(states=[State.BLOCKED], limit=LIVE),
    "list --state failed": lambda client, _: client.runs.list(states=[State.FAILED], limit=LIVE),
    "list --state completed": lambda client, _: client.runs.list(states=[State.COMPLETED], limit=LIVE),
    "list --state, three": lambda client, _: client.runs.list(states=list(TERMINAL), limit=LIVE),
    "list --workflow --state": lambda client, _: client.runs.list(
        workflow=WORKFLOWS[0], states=[State.FAILED], limit=LIVE
    ),
    "list --workflow": lambda client, _: client.runs.list(workflow=WORKFLOWS[0], limit=LIVE),
    "list --label": lambda client, _: client.runs.list(labels={"customer": "c10"}, limit=LIVE),
    "list, both labels": lambda client, _: client.runs.list(labels={"customer": "c10", "env": "prod"}, limit=LIVE),
    "list --since, an hour": lambda client, _: client.runs.list(since=_ago(hours=1), limit=LIVE),
    "list --older-than 12h": lambda client, _: client.runs.list(before=_ago(hours=12), limit=LIVE),
    "list --roots": lambda client, _: client.runs.list(roots=True, limit=LIVE),
    "list --parent": lambda client, ids: client.runs.list(parent=ids[-1], limit=LIVE),
    "list --version": lambda client, _: client.runs.list(workflow=OLD[0], version=OLD[1], limit=LIVE),
    "list --key": lambda client, _: client.runs.list(key=SOME_KEY),
    "list --key --workflow": lambda client, _: client.runs.list(key=SOME_KEY, workflow=SOME_WORKFLOW),
    "list --key-prefix": lambda client, _: client.runs.list(key_prefix=PREFIX, limit=LIVE),
    "list --key-prefix --workflow": lambda client, _: client.runs.list(
        key_prefix=PREFIX, workflow=WORKFLOWS[0], limit=LIVE
    ),
    "list --key-prefix --state": lambda client, _: client.runs.list(
        key_prefix=PREFIX, states=[State.COMPLETED], limit=LIVE
    ),
    "list --error": lambda client, _: client.runs.list(error=ERRORS[1], limit=LIVE),
    "list --count": lambda client, _: client.runs.count(),
    "list --workflow --count": lambda client, _: client.runs.count(workflow=WORKFLOWS[0]),
    "list --key-prefix --count": lambda client, _: client.runs.count(key_prefix=PREFIX),
    "list --since 48h --count": lambda client, _: client.runs.count(since=_ago(hours=48)),
    "list --roots --count": lambda client, _: client.runs.count(roots=True),
    "list --state completed --count": lambda client, _: client.runs.count(states=[State.COMPLETED]),
    "history": lambda client, ids: _all(client.runs.history(ids[0])),
    "why": lambda client, ids: client.runs.why(ids[0]),
    "input": lambda client, ids: client.runs.input(ids[0]),
    "workflow list": lambda client, _: client.workflows.list(),
    "status --storage": lambda client, _: client.runs.storage(),
}


def _ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


async def _all(items: object) -> list[object]:
    return [item async for item in items]  # type: ignore[attr-defined]


def main() -> None:
    """Load what is missing, measure, print the table; exit with 1 if a ratio is above MOST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--repeat", type=int, default=REPEAT)
    given = parser.parse_args()
    with _cluster(given.folder, FEW) as few, _cluster(given.folder, given.runs) as many:
        seconds = asyncio.run(_measure(few, many, given.repeat))
    worse = [name for name, (few_s, many_s) in seconds.items() if many_s > MOST * few_s]
    print(_table(seconds, given.runs))
    print(f"worse: {', '.join(worse)}" if worse else "not worse")
    sys.exit(1 if worse else 0)


@contextmanager
def _cluster(folder: Path, runs: int) -> Iterator[Cluster]:
    """Run a cluster on the folder's data with so many finished runs; they are loaded if they are not there whole."""
    home = (folder / f"large-{runs}").resolve()
    if not (home / LOADED).exists():
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    running = Cluster(home)
    try:
        running.wait_ready()
        if not (home / LOADED).exists():
            print(f"loading {runs:,} finished runs into {home}", flush=True)
            finished.load(running.database_url, runs)
            asyncio.run(_enqueue_live(running))
            (home / LOADED).touch()
        yield running
    finally:
        running.stop()


async def _enqueue_live(cluster: Cluster) -> None:
    async with Client.connect(cluster.url, namespace=NAMESPACE) as client:
        await client.enqueue_many(nobody.bind(PAYLOAD) for _ in range(LIVE))


async def _measure(few: Cluster, many: Cluster, repeat: int) -> dict[str, tuple[float, float]]:
    """Return for each reader and workload the median seconds in both."""
    seconds: dict[str, tuple[list[float], list[float]]] = {}
    for turn in range(repeat):
        for place, cluster in ((0, few), (1, many))[:: 1 if turn % 2 else -1]:
            for name, taken in (await _measure_one(cluster)).items():
                seconds.setdefault(name, ([], []))[place].append(taken)
    return {name: (statistics.median(a), statistics.median(b)) for name, (a, b) in seconds.items()}


async def _measure_one(cluster: Cluster) -> dict[str, float]:
    ids = _finished_ids(cluster)
    seconds: dict[str, float] = {}
    async with Client.connect(cluster.url, namespace=NAMESPACE) as client:
        for name, reader in READERS.items():
            await reader(client, ids)
            began = time.perf_counter()
            for _ in range(TURNS):
                await reader(client, ids)
            seconds[name] = (time.perf_counter() - began) / TURNS
        cluster.start_worker("--max-concurrent-runs", str(CONCURRENCY))
        while (await client.runs.summary()).workers == 0:
            await asyncio.sleep(0.05)
        await w2(client, l=20)
        seconds["W1 n=1000 k=5, a run"] = (await w1(client, n=1_000, k=5)).seconds / 1_000
        seconds["W2 l=100, a run"] = (await w2(client, l=100)).seconds / 100
        cluster.stop_workers()
    return seconds


def _finished_ids(cluster: Cluster) -> list[str]:
    """Return some ids of runs from all over the data, and last that of the run with the most children."""
    first = "SELECT run_id::text FROM aiki.listing WHERE namespace = %s ORDER BY created_at LIMIT 1"
    query = """
    SELECT one.run_id::text FROM generate_series(0, 19) AS n CROSS JOIN LATERAL (
      SELECT e.run_id FROM aiki.listing e WHERE e.namespace = %s
        AND e.created_at > (SELECT min(l.created_at) FROM aiki.listing l) + n * interval '1 hour'
      ORDER BY e.created_at LIMIT 1
    ) AS one
    """
    with psycopg.connect(cluster.database_url) as connection:
        return [row[0] for asked in (query, first) for row in connection.execute(asked, (NAMESPACE,)).fetchall()]


def _table(seconds: dict[str, tuple[float, float]], runs: int) -> str:
    lines = [f"{'ms':30} {f'{FEW:,} ended':>16} {f'{runs:,} ended':>18} {'ratio':>7}"]
    for name, (few, many) in seconds.items():
        lines.append(f"{name:30} {1e3 * few:16.2f} {1e3 * many:18.2f} {many / few:7.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
