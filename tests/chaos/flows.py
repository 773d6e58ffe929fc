"""Workflows of the chaos tests. Every task writes to the ledger, and its result says which worker made it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiki import Retry, TaskFailed, TaskOutcomeUnknown, Workflow, WorkflowRun, task, workflow
from aiki.core.failpoints import failpoint
from tests.chaos.families import FAMILIES
from tests.chaos.hearers import hearing, regretted, relaying
from tests.chaos.ledger import witnessed, worker_name
from tests.chaos.shared import SHARED

GATES = "CHAOS_GATES"
SLOTS = 30
"""Of a worker that is not told how many: more than it has routes, or it would claim without hints."""


@dataclass
class Done:
    n: int
    by: str


@dataclass
class Bulk:
    text: str
    by: str


@task
async def effect(n: int) -> Done:
    with witnessed():
        failpoint("task.inside_body")
        return Done(n, worker_name())


@task
def effect_in_thread(n: int) -> Done:
    with witnessed():
        return Done(n, worker_name())


@task(retry=Retry.fixed(max_attempts=4, delay="20ms"))
async def flaky(n: int, fails: int) -> Done:
    """Fail `fails` times over all workers together: each try leaves a file."""
    with witnessed():
        tries = Path(os.environ[GATES])
        for number in range(fails):
            try:
                (tries / f"try-{n}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            raise OSError(f"try {number} of {n} fails")
        return Done(n, worker_name())


@task
async def gated(gate: str) -> Done:
    """Say that it has begun, then wait until the test opens the gate."""
    with witnessed():
        await _wait_for(gate)
        return Done(0, worker_name())


@task(at_most_once=True)
async def gated_once(gate: str) -> Done:
    with witnessed():
        await _wait_for(gate)
        return Done(0, worker_name())


@task(at_most_once=True)
def gated_once_in_thread(gate: str) -> Done:
    with witnessed():
        _block_at(gate)
        return Done(0, worker_name())


@task
def gated_in_thread(gate: str) -> Done:
    with witnessed():
        _block_at(gate)
        return Done(0, worker_name())


@task(executor="process")
def gated_in_process(gate: str) -> Done:
    with witnessed():
        _block_at(gate)
        return Done(0, worker_name())


@task
async def blocking(first: str, then: str) -> Done:
    """Wait at the first gate as one should, and at the other with the worker's loop in hand."""
    with witnessed():
        await _wait_for(first)
        _block_at(then)
        return Done(0, worker_name())


async def _wait_for(gate: str) -> None:
    opened = _come_to(gate)
    while not opened.exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.005)


def _block_at(gate: str) -> None:
    opened = _come_to(gate)
    while not opened.exists():
        time.sleep(0.005)


def _come_to(gate: str) -> Path:
    gates = Path(os.environ[GATES])
    (gates / f"{gate}.begun.{worker_name()}").touch()
    return gates / gate


@workflow
async def chain(run: WorkflowRun, n: int) -> list[int]:
    """n tasks in a row."""
    return [(await effect.run(run, i)).n for i in range(n)]


@workflow
async def onward(run: WorkflowRun, left: int, done: list[int]) -> list[int]:
    """A task in each of so many generations."""
    done.append((await effect.run(run, left)).n)
    if left:
        onward.continue_as_new(run, left - 1, done)
    return done


@workflow
async def mixed(run: WorkflowRun, n: int) -> list[int]:
    """The common load: tasks in a row, branches of unequal depth, one beside a timer, a thread, a retry."""
    done = [(await effect.run(run, n)).n]

    async def deep() -> int:
        return sum([(await effect.run(run, n + i)).n for i in range(1, 4)])

    async def beside_a_sleep() -> int:
        await run.sleep("40ms")
        return (await flaky.run(run, n, 1)).n

    async def shallow() -> int:
        return (await effect_in_thread.run(run, n)).n

    done += await asyncio.gather(deep(), beside_a_sleep(), shallow())
    await run.sleep("60ms")
    done.append((await effect.run(run, n + 100)).n)
    return done


def mixed_result(n: int) -> list[int]:
    """Return what `mixed(n)` must come to."""
    return [n, 3 * n + 6, n, n, n + 100]


@workflow
async def held(run: WorkflowRun, gate: str) -> int:
    """A task, one that waits for the test, and one more."""
    await effect.run(run, 1)
    await gated.run(run, gate)
    return (await effect.run(run, 2)).n


@workflow
async def held_beside_sleep(run: WorkflowRun, gate: str) -> int:
    """A task that outlives a timer beside it."""

    async def timer() -> int:
        await run.sleep("30ms")
        return (await effect.run(run, 7)).n

    task_done, slept = await asyncio.gather(gated.run(run, gate), timer())
    return task_done.n + slept


@workflow
async def held_then_sleeps(run: WorkflowRun, gate: str) -> int:
    """A zombie of this one passes a wait: after its task comes a timer, then a task."""
    await gated.run(run, gate)
    await run.sleep("30ms")
    return (await effect.run(run, 3)).n


@workflow
async def once_only(run: WorkflowRun, gate: str) -> str:
    try:
        await gated_once.run(run, gate)
    except TaskOutcomeUnknown as error:
        return f"unknown: {error.task}"
    return "done"


@workflow
async def once_in_thread(run: WorkflowRun, gate: str) -> str:
    try:
        await gated_once_in_thread.run(run, gate)
    except TaskOutcomeUnknown as error:
        return f"unknown: {error.task}"
    return "done"


@workflow
async def in_thread(run: WorkflowRun, gate: str) -> int:
    return (await gated_in_thread.run(run, gate)).n


@workflow
async def in_process(run: WorkflowRun, gate: str) -> int:
    return (await gated_in_process.run(run, gate)).n


@workflow
async def blocks(run: WorkflowRun, first: str, then: str) -> int:
    return (await blocking.run(run, first, then)).n


@workflow
async def fan(run: WorkflowRun, n: int) -> int:
    return sum(done.n for done in await asyncio.gather(*(effect.run(run, i) for i in range(n))))


@task
async def bulk(n: int, size: int) -> Bulk:
    """Return a result of more than `size` bytes."""
    with witnessed():
        return Bulk("x" * size, worker_name())


@workflow
async def bulky(run: WorkflowRun, sizes: list[int], gate: str = "") -> list[int]:
    """Large results at once, then at the gate, then once more; one that fits no message counts 0."""

    async def length(n: int, size: int) -> int:
        try:
            return len((await bulk.run(run, n, size)).text)
        except TaskFailed as error:
            return 0 if error.type == "PayloadError" else -1

    before = await asyncio.gather(*(length(n, size) for n, size in enumerate(sizes)))
    if gate:
        await gated.run(run, gate)
    return before + await asyncio.gather(*(length(-n, size) for n, size in enumerate(sizes, 1)))


@workflow
async def nap(run: WorkflowRun, milliseconds: int) -> int:
    """Return how long the sleep took by the run's own clock, in ms."""
    before = run.now()
    await run.sleep(f"{milliseconds}ms")
    return round((run.now() - before).total_seconds() * 1000)


ALL: list[Workflow[..., Any]] = [
    chain, mixed, held, held_beside_sleep, held_then_sleeps, once_only, once_in_thread, in_thread, in_process, blocks,
    onward, fan, bulky, nap, hearing, relaying, regretted, *FAMILIES, *SHARED,
]  # fmt: skip
assert len(ALL) < SLOTS
