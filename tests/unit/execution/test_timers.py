"""Durable timers: what makes them, when they go off, and which are refused."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import anyio
import pytest

from aiki.core.states import State
from aiki.definitions.workflow import workflow
from aiki.execution.timers import LAST_DATE
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.bodies import failure_of
from tests.unit.execution.replays import again, output, run, slow
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def test_sleep_timeout_and_wait_for_are_durable_timers() -> None:
    @workflow(name="timers", version="1")
    async def timers(run: WorkflowRun) -> list[str]:
        seen = []
        await asyncio.sleep(0.25)
        try:
            async with asyncio.timeout(1):
                await slow.run(run, 1)
        except TimeoutError:
            seen.append("timeout")
        try:
            await asyncio.wait_for(slow.run(run, 2), 2)
        except TimeoutError:
            seen.append("wait_for")
        await run.sleep("1500ms")
        await run.sleep_until(run.now() - timedelta(days=1))
        await run.sleep_until(datetime.fromtimestamp(EPOCH / 1e6 + 100, UTC))
        return seen

    world = run(timers)
    assert output(world) == '["timeout","wait_for"]'
    keys = [entry.key for entry in world.journal]
    assert keys == ["timer:0.25", "timer:1", "timer:2", "timer:1.5", f"until:{EPOCH + 100_000_000}"]
    assert [entry.at - EPOCH for entry in world.journal] == [250_000, 1_250_000, 3_250_000, 4_750_000, 100_000_000]
    assert output(again(world)) == output(world)


def test_an_outcome_that_came_before_a_timer_was_due_is_delivered_before_it() -> None:
    @workflow(name="order", version="1")
    async def order(run: WorkflowRun) -> list[str]:
        seen: list[str] = []

        async def sleeps(seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(f"slept {seconds}")

        async def works() -> None:
            await slow.run(run, 1)
            seen.append("worked")

        await asyncio.gather(sleeps(6), works(), sleeps(4), sleeps(6))
        return seen

    assert output(run(order)) == '["slept 4","worked","slept 6","slept 6"]'


@pytest.mark.parametrize("waits", [anyio.sleep_forever, lambda: asyncio.sleep(math.inf), lambda: asyncio.sleep(1e300)])
def test_a_body_that_sleeps_for_ever_is_no_deadlock_and_leaves_memory_until_the_last_date(waits: Any) -> None:
    @workflow(name="forever", version="1")
    async def forever(run: WorkflowRun) -> None:
        await waits()

    async def main() -> World:
        world = World(forever)
        world.claim()
        await world.settle()
        return world

    world = simulate(main())
    assert world.state is State.SLEEPING
    assert world.end is not None
    assert world.end.due_at == LAST_DATE


@pytest.mark.parametrize("when", [None, "tomorrow", 5.0, math.inf, date(2030, 1, 1), datetime(2030, 1, 1)])  # noqa: DTZ001 - the mistake
def test_a_date_without_a_time_zone_or_that_is_none_is_refused(when: Any) -> None:
    async def body(run: WorkflowRun) -> None:
        await run.sleep_until(when)

    text = failure_of(body)
    assert "sleep_until() needs a datetime with a time zone" in text
    assert "run.now() + timedelta" in text


def test_a_timer_of_no_number_is_refused() -> None:
    async def body(run: WorkflowRun) -> None:
        asyncio.get_running_loop().call_later(math.nan, print)

    assert "a timer of nan seconds" in failure_of(body)
