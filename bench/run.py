"""Run W1-W7 on Aiki with real servers, beside the ceiling sketch if its path is given, or beside another checkout.

    python -m bench.run [--limit path/to/limit.py] [--repeat 3] [--only W1 W2]
    python -m bench.run --base path/to/checkout [--repeat 5] [--only W1 W2]

One JSON line per measurement (workloads, then memory and idle CPU), then a table of medians, then start-up. Absolute
figures drift with the machine: the ratios to what runs right beside each workload are what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from bench import start_up
from bench.comparison import compare, table
from bench.measuring import RESOURCES, Row, measure
from bench.pairs import measure_pairs
from bench.workloads import WORKLOADS, Workload

LIMIT_SECONDS = 300
REPEAT, REPEAT_PAIRS = 3, 5
START_UP = "start-up"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", help="path of the ceiling sketch, limit.py")
    parser.add_argument("--base", type=Path, help="path of another checkout, with its own .venv")
    parser.add_argument("--repeat", type=int, help=f"{REPEAT}; with --base {REPEAT_PAIRS}")
    parser.add_argument("--only", nargs="*", default=[], help="W1 ... W7, resources, start-up")
    arguments = parser.parse_args()
    if (arguments.limit or not arguments.base) and arguments.only != [START_UP]:
        print(_table(_measure_all(arguments.only, arguments.limit, arguments.repeat or REPEAT)), flush=True)
    if not arguments.only or START_UP in arguments.only:
        print(start_up.table(start_up.measure()), flush=True)
    if arguments.base:
        labels = [workload.label for workload in _workloads(arguments.only)] + _resources(arguments.only)
        pairs = measure_pairs(arguments.base.resolve(), labels, arguments.repeat or REPEAT_PAIRS)
        print(table(compare(pairs)), flush=True)


def _workloads(only: list[str]) -> list[Workload]:
    return [workload for workload in WORKLOADS if not only or workload.name in only]


def _resources(only: list[str]) -> list[str]:
    return list(RESOURCES) if not only or "resources" in only else []


def _measure_all(only: list[str], limit: str | None, repeat: int) -> list[Row]:
    rows: list[Row] = []
    for _ in range(repeat):
        for workload in _workloads(only):
            if limit and workload.limit:
                rows.append(_said(_measure_limit(limit, workload)))
            rows.append(_said(measure(workload.label)))
        rows += [_said(measure(label)) for label in _resources(only)]
    return rows


def _said(row: Row) -> Row:
    print(json.dumps(row), flush=True)
    return row


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
    elif "end_p50_ms" in mine:
        start, end = (f"{mine[f'{name}_p50_ms']:.1f}/{mine[f'{name}_p99_ms']:.1f}" for name in ("start", "end"))
        figure, name = f"p50/p99 to start {start} end {end} ms", "end_p50_ms"
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
