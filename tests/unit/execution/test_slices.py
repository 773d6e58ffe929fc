"""Where a slice of time ends says nothing of the body."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from aiki.definitions.workflow import Workflow, workflow
from aiki.execution.deliveries import SPIN
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, calls, double, output, run, slow


@workflow(name="overtaken", version="1")
async def overtaken(run: WorkflowRun) -> int:
    """End by an outcome that was there before the other branch's new call could start."""

    async def goes_on() -> None:
        await double.run(run, 1)
        await slow.run(run, 9)

    behind = asyncio.create_task(goes_on())
    first = asyncio.create_task(double.run(run, 2))
    await asyncio.wait([first])
    return first.result() + int(behind.done())


@workflow(name="second_thoughts", version="1")
async def second_thoughts(run: WorkflowRun) -> int:
    """Take a call back before the body has come to rest or gone round for long."""
    behind = asyncio.create_task(slow.run(run, 9))
    for _ in range(SPIN - 100):
        await asyncio.sleep(0)
    behind.cancel()
    return await double.run(run, 2)


@pytest.mark.parametrize("flow", [overtaken, second_thoughts])
@pytest.mark.parametrize("hasty", ["live", "replay", "both"])
def test_where_a_slice_ends_does_not_decide_what_is_started(flow: Workflow[Any, Any], hasty: str) -> None:
    def clock(when: str) -> Callable[[], float] | None:
        ticks = itertools.count()
        return (lambda: float(next(ticks))) if hasty in (when, "both") else None

    world = run(flow, clock=clock("live"))
    live, length = list(calls), len(world.journal)
    assert output(world) == "4"
    assert "slow 9" not in live
    replayed = again(world, clock=clock("replay"))
    assert output(replayed) == "4"
    assert calls == live, "the replay started a task"
    assert len(replayed.journal) == length
