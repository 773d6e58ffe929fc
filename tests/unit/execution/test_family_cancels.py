"""Cancels of parents: whom they tell, what they wait for, and that their replay is the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import ChildFailed
from aiki.core.states import Move, State
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.cancelled import at, ended, stubborn
from tests.unit.execution.families import approved, breaks, children, hears, keys, raised, sleeper, square
from tests.unit.execution.replays import again, calls, double
from tests.worlds.world import World


def replayed(world: World) -> World:
    """Replay a cancelled parent: it goes the same way, and starts nobody."""
    repeated = again(world)
    assert repeated.end is not None
    assert ended(repeated) is ended(world)
    assert not any(unit.starts or unit.stops or unit.entries for unit in repeated.units)
    return repeated


def test_the_interruption_waits_for_the_end_of_a_child_that_is_waited_for() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await sleeper.run(run, 60, "child")
        except ChildFailed:
            calls.append("the child's end moved the body")
        except asyncio.CancelledError:
            calls.append("parent")
            raise

    world = raised(body, at(2))
    assert (ended(world), keys(world), calls) == (
        *(Move.CANCEL, ["starts", "cancel", "end", "interrupt"], ["child cancelled", "parent"]),
    )
    calls.clear()
    replayed(world)
    assert calls == ["parent"]


def test_a_child_that_nobody_waits_for_is_told_and_delays_nothing() -> None:
    async def body(run: WorkflowRun) -> None:
        await sleeper.start(run, 60, "child")
        await run.sleep("1h")

    world = raised(body, at(2))
    assert (ended(world), keys(world)) == (Move.CANCEL, ["starts", "cancel", "interrupt"])
    assert [child.state for child in children(world)] == [State.CANCELLED]
    replayed(world)


def test_starts_that_are_held_when_a_cancel_comes_go_before_it_and_are_told_with_the_others() -> None:
    async def body(run: WorkflowRun) -> None:
        await run.wait_for(approved)
        child = await sleeper.start(run, 60, "late")
        await asyncio.gather(child.result(), double.run(run, 1))

    def both(world: World) -> None:
        world.along = (0,)  # both are read at once
        world.send(approved.bind("go"))
        world.cancel()

    world = raised(body, (1, both))
    assert keys(world)[:3] == ["event", "starts", "cancel"]
    (unit,) = [unit for unit in world.units if unit.starts]
    assert [entry.key.split(":")[0] for entry in unit.entries][-2:] == ["starts", "cancel"]
    assert [child.state for child in children(world)] == [State.CANCELLED]
    assert "double 1" not in calls, "nothing else is let go"
    replayed(world)


def test_a_parent_that_is_cancelled_rests_for_its_children_out_of_memory() -> None:
    async def slowly(run: WorkflowRun) -> None:
        try:
            await run.wait_for(approved)
        finally:
            await run.sleep("1h")

    reluctant = workflow(name="reluctant", version="1")(slowly)

    async def body(run: WorkflowRun) -> None:
        await reluctant.run(run)

    world = raised(body, at(2), flows=(reluctant,))
    assert keys(world) == ["starts", "cancel", "end", "interrupt"]
    assert (ended(world), world.ends, world.epoch) == (Move.CANCEL, [Move.WAIT, Move.CANCEL], 2)
    assert world.end is not None
    waits = [unit.end.waits for unit in world.units if unit.end is not None and unit.end.move is Move.WAIT]
    assert waits == [["child"]]
    replayed(world)


def test_what_is_abandoned_or_was_only_found_is_not_waited_for() -> None:
    async def body(run: WorkflowRun) -> None:
        left = await sleeper.options(parent_close="abandon").start(run, 60, "left")
        await asyncio.gather(left.result(), run.wait_for(approved))

    world = raised(body, at(2))
    assert keys(world) == ["starts", "cancel", "interrupt"]
    assert (calls, [child.state for child in children(world)]) == (["left"], [State.COMPLETED])
    replayed(world)


def test_of_all_only_those_that_are_told_are_waited_for() -> None:
    async def body(run: WorkflowRun) -> None:
        left = await sleeper.options(parent_close="abandon").start(run, 60, "left")
        await run.all([left, await sleeper.start(run, 60, "told")])

    world = raised(body, at(2))
    assert keys(world) == ["starts", "cancel", "interrupt"]
    assert [arrival.kind for arrival in world.inbox.unread] == ["child"]
    assert calls == ["told cancelled", "left"]
    replayed(world)


def test_what_children_came_to_under_a_cancel_reaches_what_a_shield_keeps_from_the_interruption() -> None:
    async def body(run: WorkflowRun) -> None:
        both = asyncio.ensure_future(run.all([await sleeper.start(run, 60, "a"), await square.start(run, 1)]))
        try:
            await asyncio.shield(both)
        except asyncio.CancelledError:
            calls.append("interrupted")
        try:
            await both
        except ChildFailed as error:
            calls.append(f"{error.state} {error.type}")

    world = raised(body, at(2))
    assert keys(world) == ["starts", "cancel", "all", "interrupt"]
    assert calls == ["a cancelled", "interrupted", "cancelled RunCancelled"]
    calls.clear()
    replayed(world)
    assert calls == ["interrupted", "cancelled RunCancelled"]


def test_compensation_starts_children_of_its_own_which_its_end_leaves_or_cancels_or_waits_for() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            calls.append(await sleeper.run(run, 5, "refund"))
            await sleeper.options(parent_close="wait").start(run, 5, "last")

    world = raised(body, at(2))
    assert keys(world) == ["cancel", "interrupt", "starts", "end", "starts", "all"]
    assert (ended(world), calls) == (Move.CANCEL, ["refund", "refund", "last"])
    (told,) = [unit for unit in world.units if any(entry.key.startswith("cancel:") for entry in unit.entries)]
    assert not told.starts, "what starts in the commit of a cancel is told of it"
    assert [child.state for child in children(world)] == [State.COMPLETED] * 2
    replayed(world)


def test_a_body_that_waits_for_its_children_at_its_end_is_cancelled_with_them() -> None:
    async def body(run: WorkflowRun) -> str:
        await sleeper.options(parent_close="wait").start(run, 60, "child")
        return "over"

    world = raised(body, at(2))
    assert (ended(world), keys(world), calls) == (
        *(Move.CANCEL, ["starts", "cancel", "all", "interrupt"], ["child cancelled"]),
    )
    replayed(world)


def test_a_try_and_a_child_that_end_under_a_cancel_are_both_recorded_and_kept_back() -> None:
    async def body(run: WorkflowRun) -> None:
        await asyncio.gather(sleeper.run(run, 60, "child"), stubborn.run(run, 2.0), _then_double(run))

    async def _then_double(run: WorkflowRun) -> Any:
        try:
            await breaks.run(run, "no")
        except ChildFailed:
            await run.sleep("1h")
        await double.run(run, 1)

    world = raised(body, at(2))
    assert keys(world) == ["starts", "end", "cancel", "end", "task", "interrupt"]
    assert "double 1" not in calls
    replayed(world)


@pytest.mark.parametrize("cut", range(1, 7))
def test_each_prefix_of_a_cancelled_family_replays_to_the_same_journal(cut: int) -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await asyncio.gather(sleeper.run(run, 60, "a"), hears.run(run), stubborn.run(run, 2.0))
        finally:
            await double.run(run, 1)

    world = raised(body, at(2))
    whole = keys(world)
    assert whole == ["starts", "cancel", "end", "end", "task", "interrupt", "task"]

    def crash(world: World) -> None:
        if world.execution is not None:
            world.crash()

    crashed = raised(body, at(2), (2 + cut / 3, crash), latency=(0.3,))
    found = keys(crashed)
    assert set(found) == set(whole), "a try that a crash has cut off is not made again: it may have no entry"
    assert (found[:2], found[-2:], found.count("end")) == (["starts", "cancel"], ["interrupt", "task"], 2)
    assert ended(crashed) is Move.CANCEL
    replayed(crashed)
