"""Cancels of running bodies: when they are interrupted, what they come to, and that their replay is the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.states import Move, State
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.cancelled import SECOND, approved, at, ended, keys, lived, stubborn
from tests.unit.execution.replays import again, calls, double, error_of, slow
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


def test_a_cancel_interrupts_a_body_that_sleeps_and_the_run_ends_cancelled() -> None:
    seen = []

    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        except asyncio.CancelledError:
            seen.append(run.now().timestamp() - EPOCH / SECOND)
            raise

    world = lived(body, at(2))
    assert (world.state, ended(world), keys(world)) == (State.CANCELLED, Move.CANCEL, ["cancel", "interrupt"])
    assert seen == [pytest.approx(2, abs=0.1)]
    assert list(world.inbox.taken.values()) == ["cancel:requested"]


def test_once_interrupted_a_run_ends_cancelled_even_if_its_body_returns() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            await run.wait_for(approved)
        except asyncio.CancelledError:
            return "all is well"
        return "never"

    assert ended(lived(body, at(1))) is Move.CANCEL


def test_a_run_that_is_parked_is_woken_by_its_cancel() -> None:
    async def body(run: WorkflowRun) -> None:
        await run.wait_for(approved)

    world = lived(body, at(100))
    assert (world.ends, world.epoch) == ([Move.WAIT, Move.CANCEL], 2)


def test_compensation_runs_tasks_and_sleeps_and_waits() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            await double.run(run, 1)
            await run.sleep("5s")
            calls.append(await run.wait_for(approved))

    world = lived(body, at(1), (8, lambda world: world.send(approved.bind("yes"))))
    assert ended(world) is Move.CANCEL
    assert keys(world) == ["cancel", "interrupt", "task", "timer", "event"]
    assert calls == ["double 1", "yes"]


def test_nothing_is_let_go_between_the_cancel_and_the_interruption() -> None:
    async def body(run: WorkflowRun) -> None:
        await asyncio.gather(stubborn.run(run, 2.0), _slow_then_double(run), run.sleep("3s"), run.wait_for(approved))

    world = lived(body, at(1.5), (2, lambda world: world.send(approved.bind("late"))))
    assert "double 2" not in calls
    assert keys(world) == ["cancel", "task", "task", "interrupt"]
    assert [arrival.kind for arrival in world.inbox.unread] == ["event"]


async def _slow_then_double(run: WorkflowRun) -> None:
    await slow.run(run, 1)
    await double.run(run, 2)


def test_compensation_goes_on_where_a_crash_has_cut_it_off() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            await double.run(run, 1)
            await slow.run(run, 2)
            await double.run(run, 3)

    world = lived(body, at(1), (3, World.crash))
    assert calls == ["double 1", "slow 2", "slow 2", "double 3"]
    assert keys(world) == ["cancel", "interrupt", "task", "task", "task"]
    assert ended(world) is Move.CANCEL


def test_a_second_cancel_interrupts_no_compensation() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            await slow.run(run, 1)
            calls.append("over")

    world = lived(body, at(1), at(3))
    assert calls == ["slow 1", "over"]
    assert keys(world).count("interrupt") == 1


def test_what_a_shield_keeps_from_the_interruption_gets_its_outcome_after_it() -> None:
    async def body(run: WorkflowRun) -> None:
        charge = asyncio.ensure_future(stubborn.run(run, 2.0))
        try:
            await asyncio.shield(charge)
        finally:
            calls.append(await charge)

    world = lived(body, at(1))
    assert calls == ["told", "over", "done"]
    assert keys(world) == ["cancel", "task", "interrupt"]


def test_an_event_that_came_before_the_cancel_is_delivered_before_it() -> None:
    async def body(run: WorkflowRun) -> None:
        await double.run(run, 1)
        calls.append(await run.wait_for(approved))
        await run.sleep("1h")

    def both(world: World) -> None:
        world.send(approved.bind("in time"))
        world.cancel()

    world = lived(body, (1, both))
    assert calls == ["double 1", "in time"]
    assert keys(world) == ["task", "event", "cancel", "interrupt"]


def test_a_cancel_that_comes_when_the_body_has_returned_is_too_late() -> None:
    async def body(run: WorkflowRun) -> str:
        await double.run(run, 1)
        return "done"

    async def main() -> World:
        @workflow(name="returns", version="1")
        async def flow(run: WorkflowRun) -> Any:
            return await body(run)

        world = World(flow)

        def cancel(unit: Any) -> None:
            if unit.end is not None:
                world.cancel()

        world.before_record = cancel
        await world.finish()
        return world

    world = simulate(main())
    assert (world.state, keys(world)) == (State.COMPLETED, ["task"])


def test_a_deadline_interrupts_as_a_cancel_does_and_the_run_fails_by_it() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            await double.run(run, 1)

    world = lived(body, at(1, "timeout"))
    assert (world.state, calls) == (State.FAILED, ["double 1"])
    assert world.end is not None
    assert '"type":"RunTimedOut"' in error_of(world.end)


def test_what_compensation_raises_stands_beside_the_reason() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        except asyncio.CancelledError:
            raise ValueError("cannot take it back") from None

    world = lived(body, at(1))
    assert world.end is not None
    assert (world.end.move, "cannot take it back" in error_of(world.end)) == (Move.CANCEL, True)


@pytest.mark.parametrize(("reason", "move"), [("requested", Move.CANCEL), ("timeout", Move.FAIL)])
def test_compensation_that_can_never_go_on_ends_the_run_as_its_cancel_says(reason: str, move: Move) -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            await asyncio.Event().wait()

    world = lived(body, at(1, reason))
    assert world.end is not None
    assert (world.end.move, "waits for something that can never come" in error_of(world.end)) == (move, True)


def test_a_task_group_in_a_handler_behaves_as_anywhere() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        except asyncio.CancelledError:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_fails())
                    group.create_task(run.sleep("1h"))
            except* ValueError:
                calls.append("caught")
            await double.run(run, 1)

    world = lived(body, at(1))
    assert calls == ["caught", "double 1"]
    assert ended(world) is Move.CANCEL


async def _fails() -> None:
    await asyncio.sleep(1)
    raise ValueError("no")


@pytest.mark.parametrize("cut", range(6))
def test_each_prefix_of_a_compensation_replays_to_the_same_journal(cut: int) -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await asyncio.gather(stubborn.run(run, 2.0), asyncio.shield(asyncio.ensure_future(slow.run(run, 1))))
        finally:
            await double.run(run, 1)
            await run.sleep("2s")

    world = lived(body, at(2))
    whole = [entry.key for entry in world.journal]
    assert len(whole) >= 5, whole

    async def again() -> World:
        other = World(world.workflow)
        other.journal = world.journal[:cut]
        other.inbox.begin_as(world.inbox)
        other.inbox.taken = {n: k for n, k in world.inbox.taken.items() if cut}
        await other.finish()
        return other

    other = simulate(again())
    assert [entry.key for entry in other.journal][:cut] == whole[:cut]
    assert other.state is State.CANCELLED


def test_a_body_that_never_rests_is_interrupted_too_and_its_replay_is_the_same() -> None:
    async def body(run: WorkflowRun) -> None:
        await double.run(run, 1)
        try:
            while True:  # noqa: ASYNC110 - it is to spin
                await asyncio.sleep(0)
        finally:
            async with asyncio.timeout(5):
                await double.run(run, 2)

    world = lived(body, at(0.5))
    assert (keys(world), ended(world)) == (["task", "cancel", "interrupt", "task"], Move.CANCEL)
    assert (ended(again(world)), calls) == (Move.CANCEL, ["double 1", "double 2"])
