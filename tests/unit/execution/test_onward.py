"""A body ends its generation, wherever in it that is said, and says what the next one begins with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from aiki.core.errors import TaskFailed, UsageError
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.inside.event import Event
from aiki.inside.onward import JournalSize
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.unit.execution.bodies import seen
from tests.unit.execution.families import At, children, raised, sleeper, square
from tests.unit.execution.replays import calls, double, error_of, output, run, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

approved = Event("approved", type=str)


@task(retry=Retry.none())
async def fails(number: int) -> int:
    raise ValueError(number)


@workflow(name="counts", version="1")
async def counts(run: WorkflowRun, left: int, total: int = 0) -> int:
    total += await double.run(run, left)
    if left:
        counts.continue_as_new(run, left - 1, total=total)
    return total


def first_end(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]], **options: Any) -> End:
    """Return how the first generation of a run ends whose body is this one, and `again` the workflow that it is of."""
    return ended(body, **options).end  # type: ignore[return-value]  # it has one


def ended(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]], **options: Any) -> World:
    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun, n: int = 0) -> Any:
        if n:
            return n
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        world.claim()
        await world.settle()
        return world

    return simulate(main())


def lived(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]], *moments: At) -> World:
    """Run two generations of a run to its end, the first of this body, while this happens at its second."""

    @workflow(name="again", version="1")
    async def flow(run: WorkflowRun, n: int = 0) -> Any:
        return n or await body(run)

    async def main() -> World:
        world = World(flow)
        over = asyncio.create_task(world.finish())
        for seconds, do in moments:
            await asyncio.sleep(seconds)
            do(world)
        await over
        return world

    return simulate(main())


def ended_by(world: World) -> list[Move]:
    """Return how the claims of a run have ended, but for its sleeps before the last."""
    return [move for move in world.ends[:-1] if move is not Move.SLEEP or len(world.ends) == 2] + world.ends[-1:]


@workflow(name="again", version="1")
async def again(run: WorkflowRun, n: int = 0) -> Any: ...


# -- the next generation


def test_a_loop_goes_on_with_its_state_and_an_empty_journal() -> None:
    world = run(counts, b'{"left":3}')
    assert output(world) == "12"
    assert [len(journal) for journal in world.left] == [1, 1, 1]
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


# -- from wherever


async def of_gather(run: WorkflowRun) -> None:
    async def branch() -> None:
        again.continue_as_new(run, 1)

    await asyncio.gather(asyncio.Event().wait(), branch(), return_exceptions=True)
    seen.append("after")


async def of_a_group(run: WorkflowRun) -> None:
    async def branch() -> None:
        await double.run(run, 1)
        again.continue_as_new(run, 1)

    async with asyncio.TaskGroup() as group:
        group.create_task(branch())
        group.create_task(asyncio.Event().wait())
    seen.append("after")


async def inside_a_group(run: WorkflowRun) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait())
        again.continue_as_new(run, 1)


async def of_a_branch_that_nobody_awaits(run: WorkflowRun) -> None:
    async def branch() -> None:
        again.continue_as_new(run, 1)

    branches = [asyncio.create_task(branch())]
    await asyncio.Event().wait()
    seen.append(str(branches))


async def of_one_that_is_waited_for_and_not_looked_at(run: WorkflowRun) -> None:
    async def branch() -> None:
        again.continue_as_new(run, 1)

    while True:
        await asyncio.wait([asyncio.create_task(branch())])


async def of_a_callback(run: WorkflowRun) -> None:
    asyncio.get_running_loop().call_soon(lambda: again.continue_as_new(run, 1))
    await run.sleep("1m")


async def under_a_timeout(run: WorkflowRun) -> None:
    async with asyncio.timeout(60):
        await double.run(run, 1)
        again.continue_as_new(run, 1)


async def of_a_handler(run: WorkflowRun) -> None:
    try:
        await fails.run(run, 1)
    except TaskFailed:
        again.continue_as_new(run, 1)


async def through_what_catches_everything(run: WorkflowRun) -> str:
    with suppress(BaseException):
        again.continue_as_new(run, 1)
    with suppress(BaseException):
        await double.run(run, 1)
    return "after all"


async def beside_a_sleep(run: WorkflowRun) -> None:
    await asyncio.wait([asyncio.create_task(run.sleep("1h")), asyncio.create_task(run.sleep("1s"))], timeout=2)
    again.continue_as_new(run, 1)


async def twice(run: WorkflowRun) -> None:
    with suppress(BaseException):
        again.continue_as_new(run, 2)
    again.continue_as_new(run, 1)


async def of_two_branches(run: WorkflowRun) -> None:
    async def branch() -> None:
        again.continue_as_new(run, 1)

    await asyncio.gather(branch(), branch())


@pytest.mark.parametrize(
    "body",
    [
        *(of_gather, of_a_group, inside_a_group, of_a_branch_that_nobody_awaits, of_a_callback, under_a_timeout),
        *(
            of_one_that_is_waited_for_and_not_looked_at,
            of_a_handler,
            through_what_catches_everything,
            beside_a_sleep,
            twice,
            of_two_branches,
        ),
    ],
)
def test_it_ends_the_body_from_wherever_it_is_called(
    body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        end = first_end(body)
    assert (end.move, bytes(end.input), end.why) == (Move.CONTINUE, b'{"n":1}', None), error_of(end)
    assert (seen, caplog.records) == ([], [])


async def passes(run: WorkflowRun) -> None:
    """Go on, and take back on the way what was done before."""
    await double.run(run, 1)
    try:
        again.continue_as_new(run, 1)
    finally:
        await run.sleep("1h")
        await double.run(run, 5)


async def passes_from_a_branch(run: WorkflowRun) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(passes(run))


async def is_passed_over(run: WorkflowRun) -> None:
    async def branch() -> None:
        await asyncio.sleep(1)
        again.continue_as_new(run, 1)

    kept = asyncio.create_task(branch())
    try:
        await asyncio.Event().wait()
    finally:
        await double.run(run, 5)
        seen.append(str(kept.done()))
        seen.clear()


@pytest.mark.parametrize("body", [passes, passes_from_a_branch, is_passed_over])
def test_finally_runs_what_it_runs_at_any_end_also_if_the_run_leaves_memory_there(
    body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]],
) -> None:
    world = lived(body)
    assert ended_by(world) == [Move.CONTINUE, Move.COMPLETE]
    assert calls[-1] == "double 5"
    assert world.left[0][-1].key.startswith("task:double:")


def test_what_goes_wrong_in_a_finally_on_the_way_fails_the_run() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            again.continue_as_new(run, 1)
        finally:
            await fails.run(run, 1)

    end = first_end(body)
    assert (end.move, "ValueError: 1" in error_of(end)) == (Move.FAIL, True)


def test_a_cancel_that_reaches_it_on_the_way_ends_the_run() -> None:
    world = lived(passes, (60, World.cancel))
    assert ended_by(world) == [Move.SLEEP, Move.CANCEL]


@pytest.mark.parametrize("is_group", [True, False], ids=["group", "gather"])
def test_who_hands_on_what_its_branches_raise_is_not_interrupted(is_group: bool) -> None:
    async def branch(run: WorkflowRun) -> None:
        again.continue_as_new(run, 1)

    async def body(run: WorkflowRun) -> None:
        try:
            if is_group:
                async with asyncio.TaskGroup() as group:
                    group.create_task(branch(run))
            else:
                await asyncio.gather(branch(run), asyncio.sleep(1))
        except asyncio.CancelledError:
            seen.append("interrupted")
            raise

    assert (first_end(body).move, seen) == (Move.CONTINUE, [])


def test_who_is_not_on_the_way_is_left_as_at_any_end() -> None:
    async def waits(run: WorkflowRun) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("finally")
            await double.run(run, 5)
            seen.append("never")

    async def body(run: WorkflowRun) -> None:
        branch = asyncio.create_task(waits(run))
        await double.run(run, 1)
        seen.append(str(branch.done()))
        again.continue_as_new(run, 1)

    assert (first_end(body).move, seen) == (Move.CONTINUE, ["False", "finally"])


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
def test_it_is_refused_in_a_finally(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]]) -> None:
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
