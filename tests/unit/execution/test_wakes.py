"""Wakes: each ends one sleep early, the one that went on when it came, and never a timeout."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from aiki.core.errors import EventTimeout
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.execution import Limits
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import output
from tests.unit.execution.telling import at, told
from tests.worlds.view import EPOCH
from tests.worlds.world import World

SECOND = 1_000_000
approved = Event("approved", type=str)
LEAVES = Limits(linger_seconds=0)


@task
async def work() -> None:
    await asyncio.sleep(3)


def seconds(run: WorkflowRun) -> float:
    return round((run.now().timestamp() * SECOND - EPOCH) / SECOND, 1)


def result(world: World) -> object:
    return json.loads(output(world))


def wakes(world: World) -> None:
    world.end_sleep()


@pytest.mark.parametrize("limits", [LEAVES, Limits(linger_seconds=100)], ids=["parked", "lingering"])
@pytest.mark.parametrize("until", [False, True], ids=["sleep", "sleep_until"])
def test_a_wake_ends_a_sleep_early(limits: Limits, until: bool) -> None:
    async def body(run: WorkflowRun) -> list[float]:
        if until:
            await run.sleep_until(datetime.fromtimestamp(EPOCH / SECOND + 60, UTC))
        else:
            await run.sleep("60s")
        first = seconds(run)
        await run.sleep("5s")
        return [first, seconds(run)]

    world = told(body, at((2, wakes)), limits=limits)
    assert result(world) == [2.0, 7.0], "the next sleep is counted from the end of the first"
    assert world.inbox.unread == []
    assert (Move.SLEEP in world.ends) == (limits is LEAVES)


def test_each_wake_ends_one_sleep_that_due_first() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        ended: list[str] = []

        async def sleep(duration: str) -> None:
            await run.sleep(duration)
            ended.append(f"{duration} at {seconds(run):g}")

        await asyncio.gather(sleep("90s"), sleep("60s"))
        return ended

    assert result(told(body, at((1, wakes), (3, wakes)), limits=LEAVES)) == ["60s at 1", "90s at 3"]


def test_a_wake_ends_no_sleep_that_began_later() -> None:
    async def body(run: WorkflowRun) -> float:
        await work.run(run)
        await run.sleep("10s")
        return seconds(run)

    world = told(body, at((1, wakes)))
    assert result(world) == 13.0
    assert world.inbox.unread == [], "what has come about since has taken it along"


def test_a_wake_that_comes_while_a_sleep_goes_on_is_taken_by_nothing_else() -> None:
    async def body(run: WorkflowRun) -> list[float]:
        async def sleeps() -> float:
            await work.run(run)
            await run.sleep("10s")
            return seconds(run)

        async def works() -> float:
            for _ in range(4):
                await work.options(idempotency_key=str(seconds(run))).run(run)
            return seconds(run)

        return list(await asyncio.gather(sleeps(), works()))

    world = told(body, at((1, wakes), (4, wakes), (8, wakes)))
    assert result(world) == [4.0, 12.0]
    assert {number: key.partition(":")[0] for number, key in world.inbox.taken.items()} == {
        1: "task",
        2: "timer",
        3: "task",
    }


def test_a_wake_takes_those_along_that_came_when_nobody_slept() -> None:
    async def body(run: WorkflowRun) -> float:
        await work.run(run)
        await run.sleep("10s")
        return seconds(run)

    world = told(body, at((1, wakes), (2, wakes), (5, wakes)))
    assert result(world) == 5.0
    assert world.inbox.unread == []


Ends = Callable[[WorkflowRun], object]


async def by_asyncio(run: WorkflowRun) -> str:
    try:
        async with asyncio.timeout(10):
            return await run.wait_for(approved)
    except TimeoutError:
        return f"over at {seconds(run):g}"


async def by_itself(run: WorkflowRun) -> str:
    try:
        return await run.wait_for(approved, timeout="10s")
    except EventTimeout:
        return f"over at {seconds(run):g}"


@pytest.mark.parametrize("body", [by_asyncio, by_itself])
def test_a_wake_ends_no_timeout(body: Callable[[WorkflowRun], object]) -> None:
    world = told(body, at((2, wakes)), limits=LEAVES)  # type: ignore[arg-type]
    assert result(world) == "over at 10"
    assert world.ends == [Move.WAIT, Move.COMPLETE], "nor does it wake a run that sleeps nowhere"


def test_a_sleep_of_a_timeouts_length_is_not_mixed_up_with_it() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        ended: list[str] = []

        async def sleep() -> None:
            await asyncio.sleep(10)
            ended.append(f"slept to {seconds(run):g}")

        async def limited() -> None:
            try:
                async with asyncio.timeout(10):
                    await asyncio.sleep(100)
            except TimeoutError:
                ended.append(f"timed out at {seconds(run):g}")

        await asyncio.gather(limited(), sleep())
        return ended

    world = told(body, at((1, wakes)), limits=LEAVES)
    assert result(world) == ["slept to 10"]
