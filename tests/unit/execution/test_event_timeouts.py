"""When a wait for an event is over: never before what came in time, however late its worker hears of that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import EventTimeout
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import double, output, slow
from tests.unit.execution.telling import SECOND, approved, at, says, told, voted
from tests.worlds.view import EPOCH
from tests.worlds.world import World


def test_a_wait_that_times_out_is_recorded_under_its_own_key_and_takes_nothing() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        try:
            return [await run.wait_for(approved, timeout="5s")]
        except EventTimeout as error:
            return [str(error), list(error.events), error.seconds, run.now().timestamp(), await run.wait_for(approved)]

    world = told(body, at((6, says("late"))))
    assert output(world) == (
        f'["event \'approved\' has not come within 5 s",["approved"],5.0,{EPOCH / SECOND + 5},"late"]'
    )
    assert [entry.ok for entry in world.journal] == [False, True]
    assert world.journal[0].key.startswith("event:approved:")


def test_a_wait_of_no_time_takes_what_is_there() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        seen = [await run.wait_for(approved, timeout="0s")]
        try:
            seen.append(await run.wait_for(approved, timeout="0s"))
        except EventTimeout:
            seen.append("nothing")
        return seen

    assert output(told(body, before=at((0, says("x"))))) == '["x","nothing"]'


@pytest.mark.parametrize("own", [True, False], ids=["timeout=", "asyncio.timeout"])
def test_an_event_that_came_in_time_is_never_overtaken_though_the_worker_was_not_told(own: bool) -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            if own:
                return await run.wait_for(approved, timeout="5s")
            async with asyncio.timeout(5):
                return await run.wait_for(approved)
        except TimeoutError:
            return "overtaken"

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(approved.bind("x"))

    world = told(body, at((4.999, deaf)))
    assert output(world) == '"x"'
    assert world.timers == ["news"]


def test_an_event_of_the_very_moment_of_the_deadline_came_in_time() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await run.wait_for(approved, timeout="5s")
        except EventTimeout:
            return "timed out"

    assert output(told(body, at((5, says("x"))))) == '"x"'


def test_a_worker_whose_clock_is_ahead_asks_again_until_it_is_time() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        try:
            return [await run.wait_for(approved, timeout="5s")]
        except EventTimeout:
            return ["timed out"]

    async def ahead(world: World) -> None:
        world.skew = 100_000

    world = told(body, before=ahead)
    assert world.timers.count("early") in range(2, 8)
    assert world.timers[-1] == "done"


def test_a_timer_that_was_refused_for_other_news_is_asked_again() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await run.wait_for(approved, timeout="5s")
        except EventTimeout:
            return "timed out"

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(voted.bind(1))

    world = told(body, at((4, deaf)))
    assert (output(world), world.timers) == ('"timed out"', ["news", "done"])


def test_a_timer_is_asked_with_what_was_seen_when_it_was_decided_not_when_it_is_sent() -> None:
    async def body(run: WorkflowRun) -> str:
        working = asyncio.create_task(slow.run(run, 1))
        try:
            return await run.wait_for(approved, timeout="5020ms")
        except EventTimeout:
            return "overtaken"
        finally:
            await working

    def quick(world: World) -> None:
        world.latency = (0.001,)
        assert world.execution is not None
        world.execution.on_news(1)

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(approved.bind("x"))

    # The task's entry is on its way from 5.0 s to 5.3 s, and the timer waits for it: meanwhile the event is read.
    world = told(body, at((5.01, deaf), (5.1, quick)), latency=(0.3,))
    asked = next(unit.timer for unit in world.units if unit.timer is not None)
    assert (asked.seen, world.timers, output(world)) == (0, ["news"], '"x"')


def test_a_timer_beside_no_wait_is_not_asked() -> None:
    async def body(run: WorkflowRun) -> str:
        got = await run.wait_for(approved)
        await run.sleep("5s")
        return got

    assert told(body, at((1, says("x")))).timers == []


def test_a_timer_beside_a_wait_is_asked_and_nothing_is_started_until_it_is_answered() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        async def sleeps() -> int:
            await run.sleep("3s")
            return await double.run(run, 2)

        return list(await asyncio.gather(run.wait_for(approved), sleeps()))

    world = told(body, at((9, says("x"))))
    assert (output(world), world.timers) == ('["x",4]', ["done"])
    asked = next(unit for unit in world.units if unit.timer is not None)
    assert (asked.entries, asked.end) == ([], None)


def test_a_spinning_body_is_given_an_asked_timer_after_as_many_turns_as_are_recorded() -> None:
    async def body(run: WorkflowRun) -> int:
        waiting = asyncio.create_task(run.wait_for(approved))
        slept = asyncio.create_task(asyncio.sleep(1))
        turns = 0
        while not slept.done():
            turns += 1
            await asyncio.sleep(0)
        waiting.cancel()
        return turns

    world = told(body)
    assert world.timers == ["done"]
    assert world.journal[0].turns is not None
