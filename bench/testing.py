"""Measure what tests in memory cost: a 30-day approval of many steps, and many small tests.

    python -m bench.testing [--steps 1000] [--tests 100]

It exits with 1 if the first takes more than half a second, or the others more than three.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiki import Event, WorkflowRun, task, workflow
from aiki.testing import TestEnv

MOST_SECONDS_LONG = 0.5
MOST_SECONDS_SMALL = 3.0
DAYS = 30
approved = Event("approved", type=str)


@task
async def step(number: int) -> int:
    return number


@workflow
async def approval(run: WorkflowRun, steps: int) -> str:
    """Take the steps over the days, and wait for somebody on the last of them."""
    for number in range(steps):
        await step.run(run, number)
        if number % (steps // DAYS + 1) == 0:
            await run.sleep("1d")
    return await run.wait_for(approved, timeout="14d")


@workflow
async def small(run: WorkflowRun, number: int) -> int:
    return await step.run(run, number)


async def long_test(steps: int) -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(approval, steps)
        await env.advance(f"{DAYS}d")
        await handle.send(approved, "Grace")
        assert await handle.result() == "Grace"


async def small_test() -> None:
    async with TestEnv() as env:
        assert await (await env.enqueue(small, 7)).result() == 7


def timed(test: Callable[[], Coroutine[Any, Any, None]], times: int = 1) -> float:
    """Return the seconds that a test takes, so many times, each on a loop of its own."""
    began = time.perf_counter()
    for _ in range(times):
        asyncio.run(test())
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--tests", type=int, default=100)
    wanted = parser.parse_args()
    timed(small_test)  # what is imported late
    long, tests = timed(lambda: long_test(wanted.steps)), timed(small_test, wanted.tests)
    print(f"{DAYS} days of {wanted.steps:,} steps: {long:.2f} s; {wanted.tests} small tests: {tests:.2f} s")
    return long > MOST_SECONDS_LONG or tests > MOST_SECONDS_SMALL


if __name__ == "__main__":
    sys.exit(main())
