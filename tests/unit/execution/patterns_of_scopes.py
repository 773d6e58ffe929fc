"""Bodies in the shapes that people write with anyio's scopes and groups, each with what it returns."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any, Final

import anyio

from aiki.core.errors import TaskFailed
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.pattern import Patterns, breaks, nap
from tests.unit.execution.pattern import returns as returns_of

PATTERNS: Final[Patterns] = []
returns = partial(returns_of, PATTERNS)


# -- anyio's scopes


@returns(["cleanup"])
async def cleans_up_in_a_shielded_scope(run: WorkflowRun) -> list[str]:
    out = []
    with anyio.move_on_after(0.2):
        try:
            await nap.run(run, "slow", 30)
        finally:
            with anyio.CancelScope(shield=True):
                out.append(await nap.run(run, "cleanup", 0.05))
    return out


@returns(["cleanup", "timeout"])
async def cleans_up_inside_fail_after_with_a_durable_sleep(run: WorkflowRun) -> list[str]:
    out = []
    try:
        with anyio.fail_after(1):
            try:
                await run.sleep("30s")
            finally:
                with anyio.CancelScope(shield=True):
                    await run.sleep("20s")
                    out.append(await nap.run(run, "cleanup", 0.05))
    except TimeoutError:
        out.append("timeout")
    return out


@returns(["inner True", "outer False"])
async def nests_scopes_whose_inner_one_ends_first(run: WorkflowRun) -> list[str]:
    out = []
    with anyio.move_on_after(20) as outer:
        with anyio.move_on_after(5) as inner:
            await nap.run(run, "slow", 30)
        out.append(f"inner {inner.cancelled_caught}")
        await run.sleep("5s")
    return [*out, f"outer {outer.cancelled_caught}"]


@returns(["inner False", "outer True"])
async def nests_scopes_whose_outer_one_ends_first(run: WorkflowRun) -> list[str]:
    with anyio.move_on_after(5) as outer, anyio.move_on_after(20) as inner:
        await run.sleep("30s")
    return [f"inner {inner.cancelled_caught}", f"outer {outer.cancelled_caught}"]


@returns(["in time", "gave up"])
async def bounds_its_cleanup(run: WorkflowRun) -> list[str]:
    out = []
    with anyio.move_on_after(1):
        try:
            await nap.run(run, "slow", 30)
        finally:
            with anyio.move_on_after(10, shield=True):
                out.append(await nap.run(run, "in time", 2))
                await nap.run(run, "late", 30)
            out.append("gave up")
    return out


@returns([True] * 40)
async def sets_deadlines_that_no_float_holds(run: WorkflowRun) -> list[bool]:
    out = []
    for number in range(40):
        await run.sleep(f"{1237 * number + 1}us")
        with anyio.move_on_after(0.1 + 0.0173 * number) as scope:
            await nap.run(run, "slow", 300 + number)
        out.append(scope.cancelled_caught)
    return out


@returns([True, True])
async def sets_a_deadline_later_on(run: WorkflowRun) -> list[bool]:
    with anyio.move_on_after(50) as later:
        later.deadline = anyio.current_time() + 1.1
        await nap.run(run, "slow", 30)
    with anyio.CancelScope() as scope:
        scope.deadline = -math.inf
        await run.sleep("30s")
    return [later.cancelled_caught, scope.cancelled_caught]


@returns(["cut at once", "cleanup", True])
async def cancels_its_own_scope(run: WorkflowRun) -> list[Any]:
    out: list[Any] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except asyncio.CancelledError:
            out.append("cut at once")
            with anyio.CancelScope(shield=True):
                out.append(await nap.run(run, "cleanup", 20))
            raise
    return [*out, scope.cancelled_caught]


# -- anyio's task groups


@returns(["ValueError", "cleanup"])
async def has_a_child_that_fails_while_another_is_in_flight(run: WorkflowRun) -> list[str]:
    out: list[str] = []

    async def waits() -> None:
        try:
            await nap.run(run, "slow", 300)
        finally:
            with anyio.CancelScope(shield=True):
                out.append(await nap.run(run, "cleanup", 5))

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(waits)
            group.start_soon(breaks.run, run, "b")
            await run.sleep("60s")
    except* TaskFailed as failed:
        out.insert(0, *[error.type for error in failed.exceptions if isinstance(error, TaskFailed)])
    return out


@returns(["cleanup"])
async def waits_in_asyncios_group_inside_anyios_scope(run: WorkflowRun) -> list[str]:
    out: list[str] = []

    async def child() -> None:
        try:
            await nap.run(run, "slow", 300)
        finally:
            out.append(await nap.run(run, "cleanup", 20))

    with anyio.move_on_after(0.2):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await nap.run(run, "slower", 301)
    return out


@returns(["started", "stopped"])
async def starts_a_branch_and_stops_it(run: WorkflowRun) -> list[str]:
    out: list[str] = []

    async def serves(*, task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        await nap.run(run, "opens", 1)
        task_status.started("started")
        try:
            await anyio.sleep_forever()
        finally:
            out.append("stopped")

    async with anyio.create_task_group() as group:
        out.append(await group.start(serves))
        await run.sleep("10s")
        group.cancel_scope.cancel()
    return out
