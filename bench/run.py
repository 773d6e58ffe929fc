"""Run W1-W5 on Aiki with real servers, and the ceiling sketch beside each workload if its path is given.

    python -m bench.run [--limit path/to/limit.py] [--repeat 3] [--only W1 W2]

One JSON line per measurement (workloads, then memory and idle CPU), then a table of medians. Absolute figures drift
with the machine: the ratios to the sketch, which runs right before each workload, are what counts.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import version
from typing import Any

import uvloop

from aiki import Client
from bench.resources import daemon_memory, idle_cpu, worker_memory
from bench.servers import cluster
from bench.workloads import WORKLOADS, Figures, Workload

CONCURRENCY = 100
LIMIT_SECONDS = 300

Row = dict[str, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", help="path of the ceiling sketch, limit.py")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="W1 ... W5, resources")
    arguments = parser.parse_args()
    rows: list[Row] = []
    chosen = [workload for workload in WORKLOADS if not arguments.only or workload.name in arguments.only]
    for _ in range(arguments.repeat):
        for workload in chosen:
            if arguments.limit and workload.limit:
                rows.append(_measure_limit(arguments.limit, workload))
            rows.append(_measure(workload))
        if not arguments.only or "resources" in arguments.only:
            rows += _measure_resources()
    print(_table(rows), flush=True)


def _measure(workload: Workload) -> Row:
    with cluster() as running:
        if workload.needs_worker:
            running.start_worker("--max-concurrent-runs", str(CONCURRENCY))
        figures = uvloop.run(_with_client(running.url, workload))
    row: Row = {
        "engine": "aiki",
        "version": version("aiki"),
        "workload": workload.name,
        "params": workload.params | ({"c": CONCURRENCY} if workload.needs_worker else {}),
        "seconds": round(figures.seconds, 3),
        "rate": figures.rate and round(figures.rate, 1),
        **figures.more,
        "notes": workload.notes,
    }
    print(json.dumps(row), flush=True)
    return row | {"label": workload.label}


def _measure_resources() -> list[Row]:
    rows = []
    for name, unit, measure in (
        ("aikid memory, 100,000 queued and 10,000 sleeping", "MB", daemon_memory),
        ("worker memory, 1,000 runs open", "MB", worker_memory),
        ("idle CPU of aikid and worker", "% of a core", idle_cpu),
    ):
        with cluster() as running:
            figure = round(uvloop.run(measure(running)), 2)
        row: Row = {"engine": "aiki", "version": version("aiki"), "workload": name, "figure": figure, "unit": unit}
        print(json.dumps(row), flush=True)
        rows.append(row | {"label": f"{name}, {unit}"})
    return rows


async def _with_client(url: str, workload: Workload) -> Figures:
    async with Client.connect(url) as client:
        while workload.needs_worker and (await client.runs.summary()).workers == 0:
            await asyncio.sleep(0.05)
        return await workload.measure(client, **workload.params)


def _measure_limit(path: str, workload: Workload) -> Row:
    flags = [part for name, value in workload.params.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, path, str(workload.limit), *flags],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(row), flush=True)
    return row | {"label": workload.label}


def _table(rows: list[Row]) -> str:
    """Return one line per workload: medians of ours, of the sketch beside it, and their ratio."""
    figures: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float):
                figures[row["label"]][row["engine"]][name].append(value)
    lines = [f"{'workload':44} {'aiki (median)':>36} {'sketch':>12} {'ratio':>7}"]
    for label, engines in figures.items():
        mine, theirs = (
            {name: statistics.median(values) for name, values in engines[engine].items()}
            for engine in ("aiki", "limit")
        )
        lines.append(_line(label, mine, theirs))
    return "\n".join(lines)


def _line(title: str, mine: dict[str, float], theirs: dict[str, float]) -> str:
    if "figure" in mine:
        figure, name = f"{mine['figure']:.1f}", "figure"
    elif "p50_ms" in mine:
        figure, name = f"p50 {mine['p50_ms']:.2f} p95 {mine['p95_ms']:.2f} ms", "p50_ms"
    elif "ms_per_step" in mine:
        figure, name = f"{mine['ms_per_step']:.3f} ms a task, growth {mine['growth']:.2f}", "ms_per_step"
    elif "rate" in mine:
        figure, name = f"{mine['rate']:,.0f} runs/s", "rate"
    else:
        figure, name = f"{mine['seconds']:.3f} s", "seconds"
    beside = f"{theirs[name]:,.2f}" if name in theirs else ""
    ratio = f"{mine[name] / theirs[name]:.2f}" if name in theirs else ""
    return f"{title:44} {figure:>36} {beside:>12} {ratio:>7}"


if __name__ == "__main__":
    main()
