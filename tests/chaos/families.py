"""Own the workflows that are built of workflows: awaited, started, found by keys, taken along by a cancel, retried."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from aiki import ChildFailed, Fatal, Workflow, WorkflowRun, task, workflow
from tests.chaos.hearers import regretted
from tests.chaos.ledger import charged, witnessed

GATES = "CHAOS_GATES"
SHARED = 3
"""How many keys there are that any family finds a leaf by."""


@task
async def step(n: int) -> int:
    with witnessed():
        return n


@task
async def charge(order: str) -> str:
    """Pay, once and for all: every try has one key."""
    with witnessed():
        charged(order)
        return order


@task
async def ship(order: str, fails: int) -> None:
    """Fail so many times over all runs that try, each for good as far as its run is concerned."""
    with witnessed():
        for number in range(fails):
            try:
                (Path(os.environ[GATES]) / f"ship-{order}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            raise Fatal(f"shipping {order} fails, number {number}")


@workflow
async def leaf(run: WorkflowRun, n: int) -> int:
    """Two tasks with a sleep between them."""
    first = await step.run(run, n)
    await run.sleep("30ms")
    return first + await step.run(run, n + 1)


def leaf_result(n: int) -> int:
    """Return what `leaf(n)` must come to."""
    return 2 * n + 1


@workflow
async def family(run: WorkflowRun, n: int, width: int, depth: int) -> int:
    """Children at once and one by one, each with children of its own, and one that other families may have started."""
    lower = [await family.start(run, 10 * n + i, width, depth - 1) for i in range(width if depth else 0)]
    shared = await leaf.options(idempotency_key=f"shared-{n % SHARED}").start(run, n % SHARED)
    alone, together = await asyncio.gather(leaf.run(run, n), run.all(lower))
    return alone + sum(together) + await shared.result() + await step.run(run, n)


def family_result(n: int, width: int, depth: int) -> int:
    """Return what `family` must come to."""
    lower = sum(family_result(10 * n + i, width, depth - 1) for i in range(width if depth else 0))
    return leaf_result(n) + lower + leaf_result(n % SHARED) + n


@workflow
async def regretted_family(run: WorkflowRun, width: int) -> None:
    """Wait for what has no end: a cancel has every child undo what it did."""
    await asyncio.gather(*(regretted.run(run) for _ in range(width)))


@workflow
async def payment(run: WorkflowRun, order: str, fails: int) -> str:
    """A charge, and what may fail after it."""
    paid = await charge.run(run, order)
    await ship.run(run, f"payment-{order}", fails)
    return paid


@workflow
async def ordered(run: WorkflowRun, order: str, fails: int) -> str:
    """A child that fails so many times, and then as many failures of the run's own."""
    try:
        paid = await payment.run(run, order, fails)
    except ChildFailed as error:
        raise RuntimeError(f"order {order} is not paid") from error
    await charge.run(run, f"fee-{order}")
    await ship.run(run, order, fails)
    return paid


FAMILIES: list[Workflow[..., Any]] = [leaf, family, regretted_family, payment, ordered]
