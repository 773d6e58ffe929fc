"""What comes between a cancel and the interruption, while tries have their grace: none of it moves the body."""

from __future__ import annotations

import asyncio

from aiki.core.states import Move, State
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.cancelled import approved, at, keys, lived, stubborn
from tests.unit.execution.replays import calls, double, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

OTHER = "0190b0a0-0000-7000-8000-000000000002"


def test_a_timeout_that_passes_meanwhile_does_not_hide_the_cancel() -> None:
    seen: list[str] = []

    async def body(run: WorkflowRun) -> None:
        try:
            async with asyncio.timeout(2):
                await stubborn.run(run, 3.0)
        except (TimeoutError, asyncio.CancelledError) as error:
            seen.append(type(error).__name__)
            raise

    world = lived(body, at(1))
    assert seen == ["CancelledError"]
    assert (world.state, keys(world)) == (State.CANCELLED, ["cancel", "task", "interrupt"])
    assert len(world.units) < 10, "it went round"


def test_an_outcome_of_the_grace_moves_no_body_so_that_its_finally_runs_whole() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await stubborn.run(run, 1.0)
        finally:
            await double.run(run, 7)
            await run.sleep("1s")
            await double.run(run, 8)

    calls.clear()
    world = lived(body, at(1))
    assert calls == ["told", "over", "double 7", "double 8"]
    assert keys(world) == ["cancel", "task", "interrupt", "task", "timer", "task"]


def test_an_event_that_comes_meanwhile_is_left_for_the_compensation() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await asyncio.gather(stubborn.run(run, 2.0), run.wait_for(approved))
        finally:
            calls.append(await run.wait_for(approved))

    calls.clear()
    world = lived(body, at(1), (2, lambda world: world.send(approved.bind("late"))))
    assert calls == ["told", "over", "late"]
    assert keys(world) == ["cancel", "task", "interrupt", "event"]


def test_a_send_that_a_pause_holds_back_is_not_sent_when_a_cancel_comes() -> None:
    @workflow(name="tells", version="1")
    async def tells(run: WorkflowRun) -> None:
        try:
            await slow.run(run, 2)
            await run.send(OTHER, approved, "never")
        finally:
            await run.sleep("5s")

    async def main() -> None:
        world = World(tells)
        other = World(tells, run_id=OTHER, runs=world.runs)
        world.claim()
        await asyncio.sleep(1)
        world.pause()
        await world.settle()
        assert (world.state, world.ends) == (State.PAUSED, [Move.RELEASE])
        world.cancel()
        await world.finish()
        assert (world.state, keys(world)) == (State.CANCELLED, ["task", "cancel", "interrupt", "timer"])
        assert other.inbox.arrivals == []

    simulate(main())
