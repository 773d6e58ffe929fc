"""Starts of children with idempotency keys: whose run it is that they come to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.canonical import digest
from aiki.core.errors import ChildFailed, Conflict, UsageError
from aiki.core.states import State
from aiki.definitions.options import RunOptions
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.cancelled import at
from tests.unit.execution.families import breaks, children, grown, keys, raised, sleeper, square
from tests.unit.execution.replays import again, calls, output
from tests.worlds.world import World

the_one = sleeper.options(idempotency_key="the one")


def test_starts_with_one_key_are_one_start_and_one_child() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        first, second = await asyncio.gather(the_one.start(run, 2, "x"), the_one.start(run, 2, "x"))
        third = await the_one.start(run, 2, "x")
        assert first.run_id == second.run_id == third.run_id
        return [await third.result(), await the_one.run(run, 2, "x")]

    world = grown(body)
    assert (output(world), calls) == ('["x","x"]', ["x"])
    assert [entry.key.partition("@")[0] for entry in world.journal] == ["start:sleeper", "end:sleeper"]
    assert [entry.takes for entry in world.journal] == [(1,), (2,)]
    (start,) = [start for unit in world.units for start in unit.starts]
    assert (start.options.key, start.digest is not None) == ("the one", True)


def test_a_key_that_came_with_another_input_in_this_run_conflicts_and_starts_nobody() -> None:
    async def body(run: WorkflowRun) -> str:
        await the_one.start(run, 2, "x")
        with pytest.raises(Conflict, match="idempotency key 'the one' and another input in this run"):
            await the_one.start(run, 3, "x")
        return "over"

    assert len(children(grown(body))) == 1


def test_a_run_that_has_the_key_is_found_and_its_end_is_seen_but_it_is_not_the_parents_own() -> None:
    async def finds(run: WorkflowRun) -> None:
        mine = await sleeper.start(run, 60, "mine")
        theirs = await the_one.options(parent_close="wait").start(run, 60, "theirs")
        assert theirs.run_id != mine.run_id
        await theirs.result()

    world = _beside(finds, at(10))
    assert keys(world) == ["timer", "starts", "start", "cancel", "interrupt"], "what was only found is not waited for"
    assert {child.state for child in children(world)} == {State.CANCELLED, State.COMPLETED}
    assert calls == ["mine cancelled", "theirs"]


def _beside(body: Any, *moments: Any) -> World:
    """Run the parent beside one run that has the key already."""

    def enqueue(world: World) -> None:
        other = World(
            sleeper,
            b'{"seconds":60,"text":"theirs"}',
            run_id="0190b0a0-0000-7000-8000-00000000000b",
            runs=world.runs,
        )
        other.options, other.digest = the_one.run_options, the_one.bind(60, "theirs").to_new_run("x").digest
        world.lives.append(asyncio.create_task(other.finish()))

    async def late(run: WorkflowRun) -> Any:
        await run.sleep("100ms")
        return await body(run)

    return raised(late, (0.01, enqueue), *moments)


def test_what_is_found_is_told_by_its_end_and_its_failure_by_its_own_id() -> None:
    async def finds(run: WorkflowRun) -> str:
        theirs = await the_one.start(run, 60, "theirs")
        return await theirs.result()

    world = _beside(finds)
    assert (output(world), keys(world)) == ('"theirs"', ["timer", "start", "end"])
    assert output(again(world)) == output(world)


def test_a_run_that_was_found_is_not_this_ones_to_cancel() -> None:
    async def finds(run: WorkflowRun) -> str:
        theirs = await the_one.start(run, 60, "theirs")
        with pytest.raises(UsageError, match="was found by its idempotency key"):
            await theirs.cancel()
        return await theirs.result()

    world = _beside(finds)
    assert output(world) == '"theirs"'
    assert not any(unit.stops for unit in world.units)


def test_a_key_that_came_with_another_input_elsewhere_conflicts_and_says_with_which_run() -> None:
    async def finds(run: WorkflowRun) -> str:
        try:
            await the_one.run(run, 5, "another")
        except Conflict as error:
            return str(error)
        return "found"

    world = _beside(finds)
    assert "and another input by run 0190b0a0-0000-7000-8000-00000000000b" in output(world)
    assert (keys(world), world.journal[1].ok) == (["timer", "start"], False)
    assert output(again(world)) == output(world)


def test_a_run_that_would_wait_for_itself_is_refused() -> None:
    async def body(run: WorkflowRun) -> str:
        me = workflow(name="parent", version="1")(body).options(idempotency_key="me")
        try:
            await me.run(run)
        except UsageError as error:
            return str(error)
        return "started"

    def name(world: World) -> None:
        world.options, world.digest = RunOptions(key="me"), digest(b"{}")

    async def late(run: WorkflowRun) -> str:
        await run.sleep("1s")
        return await body(run)

    world = raised(late, (0.1, name))
    assert "is an ancestor of this run or waits for it" in output(world)


def test_a_child_that_failed_with_a_key_fails_each_who_asks() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        keyed = breaks.options(idempotency_key="k")
        ends = await asyncio.gather(keyed.run(run, "no"), keyed.run(run, "no"), return_exceptions=True)
        return [end.message for end in ends if isinstance(end, ChildFailed)]

    world = grown(body)
    assert (output(world), keys(world)) == ('["no","no"]', ["start", "end"])


def test_a_keyed_start_that_a_cancel_finds_on_its_way_starts_no_second() -> None:
    async def body(run: WorkflowRun) -> int:
        try:
            return await square.options(idempotency_key="k").run(run, 3)
        except asyncio.CancelledError:
            return await square.options(idempotency_key="k").run(run, 3)

    world = raised(body, (0.05, lambda world: world.cancel()), latency=(0.2,))
    (started,) = {start.id for unit in world.units for start in unit.starts}
    assert [link.start_id for link in world.family.children.values()] == [started]
