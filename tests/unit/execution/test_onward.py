"""A body ends its generation: what the next one begins with, and where it may not be ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.inside.event import Event
from aiki.inside.onward import JournalSize
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.unit.execution.bodies import seen
from tests.unit.execution.families import Body, children, raised, sleeper, square
from tests.unit.execution.onward import again, ended, fails, first_end
from tests.unit.execution.replays import calls, double, error_of, output, run, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

approved = Event("approved", type=str)


@workflow(name="counts", version="1")
async def counts(run: WorkflowRun, left: int, total: int = 0) -> int:
    total += await double.run(run, left)
    if left:
        counts.continue_as_new(run, left - 1, total=total)
    return total


# -- the next generation


def test_a_loop_goes_on_with_its_state_and_an_empty_journal() -> None:
    world = run(counts, b'{"left":3}')
    assert output(world) == "12"
    assert [len(journal) for _, journal in world.left] == [1, 1, 1]
    assert world.ends == [Move.CONTINUE] * 3 + [Move.COMPLETE]


def test_a_generation_replays_to_the_same_end_wherever_its_worker_dies() -> None:
    async def main(seed: int) -> World:
        world = World(counts, b'{"left":5}', seed=seed)
        over = asyncio.create_task(world.finish())
        while not over.done():
            await asyncio.sleep(world.random.random() / 100)
            if world.execution is not None and world.random.random() < 0.3:
                world.crash()
        return world

    for seed in range(20):
        assert output(simulate(main(seed))) == "30"


def test_each_generation_knows_its_number_and_has_times_and_random_numbers_of_its_own() -> None:
    @dataclass
    class Facts:
        generation: int
        now: str
        uuid: str

    @workflow(name="facts", version="1")
    async def facts(run: WorkflowRun, known: list[Facts]) -> list[Facts]:
        known = [*known, Facts(run.generation, run.now().isoformat(), str(run.uuid()))]
        await run.sleep("1m")
        if len(known) < 3:
            facts.continue_as_new(run, known)
        return known

    world = run(facts, b'{"known":[]}')
    known = facts.result.decode(output(world).encode())
    assert [one.generation for one in known] == [0, 1, 2]
    assert len({one.uuid for one in known}) == 3
    assert sorted({one.now for one in known}) == [one.now for one in known]


def test_unread_events_are_there_in_the_next_generation() -> None:
    @workflow(name="takes", version="1")
    async def takes(run: WorkflowRun, heard: list[str]) -> list[str]:
        heard.append(await run.wait_for(approved))
        if len(heard) < 3:
            takes.continue_as_new(run, heard)
        return heard

    async def main() -> World:
        world = World(takes, b'{"heard":[]}')
        for name in "abc":
            world.send(approved.bind(name))
        await world.finish()
        return world

    assert output(simulate(main())) == '["a","b","c"]'


def test_the_size_of_the_journal_is_what_was_delivered_live_and_on_replay() -> None:
    @workflow(name="sizes", version="1")
    async def sizes(run: WorkflowRun) -> list[JournalSize]:
        found = []
        for number in range(3):
            await double.run(run, number)
            assert run.patched(f"p{number}")
            await run.sleep("20s")
            found.append(run.journal_size)
        return found

    world = run(sizes)
    assert world.epoch > 1, "it never left memory"
    found = sizes.result.decode(output(world).encode())
    assert [one.entries for one in found] == [3, 6, 9]
    assert found[-1].bytes == sum(len(entry.key) + len(entry.value) for entry in world.journal)


def test_another_version_is_named_with_the_end() -> None:
    async def body(run: WorkflowRun) -> None:
        again.options(version="2").continue_as_new(run, 7)

    end = first_end(body)
    assert (end.move, bytes(end.input), end.version) == (Move.CONTINUE, b'{"n":7}', "2")


def test_what_a_run_shows_and_what_is_wrong_with_its_body_go_along() -> None:
    async def body(run: WorkflowRun) -> None:
        run.set_details({"step": 1})
        double.run(run, 1)  # type: ignore[unused-coroutine]  # the fault that is told
        again.continue_as_new(run, 1)

    world = ended(body)
    assert [bytes(one.details) for one in world.attempts] == [b'[{"step":1},null,""]']
    assert world.end is not None
    assert "task 'double' was called and never awaited" in (world.end.why or "")


# -- where it cannot be


async def in_finally_after_an_error(run: WorkflowRun) -> None:
    try:
        await fails.run(run, 1)
    finally:
        again.continue_as_new(run, 1)


async def in_finally_after_a_result(run: WorkflowRun) -> int:
    try:
        return 5
    finally:
        if run.workflow:
            again.continue_as_new(run, 1)


async def in_what_a_finally_awaits(run: WorkflowRun) -> None:
    async def goes_on() -> None:
        again.continue_as_new(run, 1)

    try:
        await double.run(run, 1)
    finally:
        await goes_on()


@pytest.mark.parametrize("body", [in_finally_after_an_error, in_finally_after_a_result, in_what_a_finally_awaits])
def test_it_is_refused_in_a_finally(body: Body) -> None:
    end = first_end(body)
    assert end.move is Move.FAIL
    assert '"type":"UsageError","message":"again.continue_as_new() was called in a `finally`, at ' in error_of(end)
    assert "test_onward.py:" in error_of(end)


def test_a_function_made_in_a_finally_is_not_in_it() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await double.run(run, 1)
        finally:

            async def goes_on() -> None:
                again.continue_as_new(run, 1)

        await goes_on()

    assert first_end(body).move is Move.CONTINUE


def test_it_names_what_has_not_ended() -> None:
    async def body(run: WorkflowRun) -> None:
        branches = [asyncio.create_task(one) for one in (slow.run(run, 1), run.wait_for(approved), slow.run(run, 2))]
        await asyncio.sleep(1)
        try:
            again.continue_as_new(run, 1)
        except UsageError as error:
            seen.append(error.message)
        for branch in branches:
            branch.cancel()
        await asyncio.wait(branches)
        again.continue_as_new(run, 1)

    assert first_end(body).move is Move.CONTINUE
    (message,) = seen
    assert "while this has not ended" in message
    assert message.count("task slow ") == 2
    assert "approved" in message


def test_a_run_that_is_cancelled_has_no_next_generation() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        except asyncio.CancelledError:
            try:
                again.continue_as_new(run, 1)
            except UsageError as error:
                seen.append(error.message)
            raise

    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> End:
        world = World(flow)
        world.claim()
        world.cancel()
        return await world.finish()

    assert simulate(main()).move is Move.CANCEL
    assert ["is cancelled: it ends, and has no next generation" in message for message in seen] == [True]


def test_a_cancel_that_no_generation_has_heard_of_reaches_the_next_one() -> None:
    @workflow(name="spins", version="1")
    async def spins(run: WorkflowRun, n: int = 0) -> None:
        if n:
            await run.sleep("1h")
        spins.continue_as_new(run, 1)

    async def main() -> World:
        world = World(spins)
        world.claim()
        world.cancel()
        await world.finish()
        return world

    world = simulate(main())
    assert world.ends == [Move.CONTINUE, Move.CANCEL]


@workflow(name="other", version="1")
async def other(run: WorkflowRun) -> None: ...


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: other.continue_as_new(run), "a run of workflow 'again' cannot go on as 'other'"),
        (lambda run: again.continue_as_new("id"), "takes the run, not a str"),  # type: ignore[arg-type]
        (lambda run: again.options(priority=3).continue_as_new(run), "only `version` can change"),
        (lambda run: again.continue_as_new(run, "x"), "n"),  # type: ignore[arg-type]
        (lambda run: again.continue_as_new(run, m=1), "m"),  # type: ignore[call-arg]
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_where_it_is_called(
    call: Callable[[WorkflowRun], Any], says: str
) -> None:
    async def body(run: WorkflowRun) -> str:
        with pytest.raises(UsageError, match=says):
            call(run)
        return "went on"

    end = first_end(body)
    assert (end.move, bytes(end.output)) == (Move.COMPLETE, b'"went on"')


def test_an_input_that_fits_no_message_fails_the_run() -> None:
    @workflow(name="large", version="1")
    async def large(run: WorkflowRun, text: str = "") -> None:
        large.continue_as_new(run, "x" * 40_000)

    async def main() -> End:
        return await World(large, message_bytes=64 * 1024).finish()

    end = simulate(main())
    assert end.move is Move.FAIL
    assert "the input that large.continue_as_new() was given has 40,0" in error_of(end)


def test_code_that_ends_its_generation_before_all_that_is_recorded_has_diverged() -> None:
    @workflow(name="flow", version="1")
    async def flow(run: WorkflowRun) -> None:
        await double.run(run, 1)
        await run.sleep("1h")

    @workflow(name="flow", version="1")
    async def early(run: WorkflowRun) -> None:
        early.continue_as_new(run)

    async def main() -> End:
        world = World(flow)
        world.claim()
        await world.settle()
        world.workflow = early
        return await world.finish()

    end = simulate(main())
    assert end.move is Move.DIVERGE
    assert "the body ended with 1 recorded outcomes left" in (end.why or "")


def test_outside_of_its_body_it_is_refused() -> None:
    kept: list[WorkflowRun] = []

    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun) -> None:
        kept.append(run)

    run(flow)
    with pytest.raises(UsageError, match=r"again\.continue_as_new\(\) was called outside of the body"):
        again.continue_as_new(kept[0])


@pytest.mark.parametrize("limits", [Limits(entries_soft=2), Limits(entries_soft=2, entries_hard=3)])
def test_a_journal_that_grows_too_long_is_told_how_to_go_on(limits: Limits, caplog: pytest.LogCaptureFixture) -> None:
    @workflow(name="grows", version="1")
    async def grows(run: WorkflowRun) -> None:
        for number in range(4):
            await double.run(run, number)

    world = run(grows, limits=limits)
    words = caplog.text if limits.entries_hard > 3 else error_of(world.end or End(Move.FAIL))
    assert "workflow.continue_as_new(run, ...)" in words


# -- children


def test_children_of_a_generation_that_was_left_go_on_and_the_next_hears_nothing_of_them() -> None:
    async def body(run: WorkflowRun) -> int:
        await square.start(run, run.generation)
        await sleeper.start(run, 5, f"of {run.generation}")
        if run.generation < 2:
            parent.continue_as_new(run)
        await run.sleep("10s")
        return run.generation

    world = raised(body)
    assert output(world) == "2"
    assert sorted(calls) == ["of 0", "of 1", "of 2"]
    assert len({child.run_id for child in children(world)}) == 6
    assert [len(unit.starts) for unit in world.units if unit.starts] == [2, 2, 2]
    assert [row.kind for row in world.inbox.unread] == ["child"] * 2, "of the last generation"


def test_a_child_that_is_waited_for_is_named_as_what_has_not_ended() -> None:
    async def body(run: WorkflowRun) -> None:
        waiting = asyncio.create_task(sleeper.run(run, 5))
        await run.sleep("1s")
        try:
            parent.continue_as_new(run)
        except UsageError as error:
            seen.append(error.message)
        await waiting

    raised(body)
    (message,) = seen
    assert "sleeper" in message


@workflow(name="parent", version="1")
async def parent(run: WorkflowRun) -> None: ...
