"""Measure what a run costs that goes on as new, again and again: time per generation, memory, and what it leaves.

    python -m bench.onward [--generations 10000]

Printed are, for each tenth of them, the time per generation and the memory of aikid and of the worker, and how soon the
rows of all that were left are gone. It exits with 1 if the second half takes longer than the first by more than a
fifth, memory grows in it, or they stay.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from itertools import pairwise
from typing import NamedTuple

import psycopg
import uvloop

from aiki import Client, Handle, WorkflowRun, task, workflow
from bench.resources import resident_mb
from bench.servers import Cluster, cluster

GENERATIONS = 10_000
PARTS = 10
MOST_SLOWER = 1.2
MOST_MB = 5.0
PRUNED_SECONDS = 180.0
"""A look of the pruner comes once a minute, and the last lines of a story stay for one."""
_LEFT = """
SELECT (SELECT count(*) FROM aiki.journal j JOIN aiki.runs r ON r.id = j.run_id WHERE j.generation < r.generation),
  (SELECT count(*) FROM aiki.run_history)
"""
_STORY_LINES = 50


@task
async def look(left: int) -> int:
    return left


@workflow(name="onward", version="1")
async def onward(run: WorkflowRun, left: int) -> int:
    await look.run(run, left)
    if left:
        onward.continue_as_new(run, left - 1)
    return run.generation


class Mark(NamedTuple):
    """Where the run has come to at a time of the clock, and the memory in MB then."""

    generation: int
    seconds: float
    daemon: float
    worker: float


def main() -> None:
    """Let one run go on, measure, print; exit with 1 if a figure is beyond its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=GENERATIONS)
    generations = parser.parse_args().generations
    with cluster() as running:
        marks = uvloop.run(_go_on(running, generations))
        gone = _seconds_until_gone(running.database_url)
    rates = [_milliseconds(one, other) for one, other in pairwise(marks)]
    for rate, mark in zip(rates, marks[1:], strict=True):
        print(f"{mark.generation:>8,}: {rate:6.2f} ms, aikid {mark.daemon:.1f} MB, worker {mark.worker:.1f} MB")
    print(f"what was left is gone after {gone:.0f} s")
    middle, end = marks[PARTS // 2], marks[-1]
    slower = _milliseconds(middle, end) / _milliseconds(marks[0], middle)
    grown = max(end.daemon - middle.daemon, end.worker - middle.worker)
    is_flat = slower <= MOST_SLOWER and grown <= MOST_MB
    print(f"in the second half {slower:.2f} x the time of the first, and {grown:.1f} MB more at most")
    sys.exit(0 if is_flat and gone < PRUNED_SECONDS else 1)


async def _go_on(cluster: Cluster, generations: int) -> list[Mark]:
    worker = cluster.start_worker(flows="bench.onward")
    async with Client.connect(cluster.url) as client:
        while not (await client.runs.summary()).workers:
            await asyncio.sleep(0.1)
        handle = await onward.enqueue(client, generations)
        marks = [Mark(0, time.monotonic(), 0, 0)]
        for part in range(1, PARTS + 1):
            generation = await _reached(handle, part * generations // PARTS)
            at = time.monotonic()
            marks.append(Mark(generation, at, resident_mb(cluster.daemon.pid), resident_mb(worker.pid)))
        assert await handle.result() == generations
    return marks


async def _reached(handle: Handle[int], generation: int) -> int:
    while (now := (await handle.status()).generation) < generation:
        await asyncio.sleep(0.05)
    return now


def _milliseconds(one: Mark, other: Mark) -> float:
    return 1000 * (other.seconds - one.seconds) / (other.generation - one.generation)


def _seconds_until_gone(database_url: str) -> float:
    began = time.monotonic()
    with psycopg.connect(database_url, autocommit=True) as connection:
        while (waited := time.monotonic() - began) < PRUNED_SECONDS:
            entries, lines = connection.execute(_LEFT.encode()).fetchone() or (0, 0)
            if not entries and lines < _STORY_LINES:
                break
            time.sleep(1)
    return waited


if __name__ == "__main__":
    main()
