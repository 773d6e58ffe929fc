"""A body ends its generation from wherever in it that is said, and does on the way what it does at any end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from aiki.core.errors import TaskFailed
from aiki.core.states import Move
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.bodies import seen
from tests.unit.execution.families import Body
from tests.unit.execution.onward import again, ended_by, fails, first_end, lived
from tests.unit.execution.replays import calls, double, error_of
from tests.worlds.world import World


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
def test_it_ends_the_body_from_wherever_it_is_called(body: Body, caplog: pytest.LogCaptureFixture) -> None:
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
    body: Body,
) -> None:
    world = lived(body)
    assert ended_by(world) == [Move.CONTINUE, Move.COMPLETE]
    assert calls[-1] == "double 5"
    assert world.left[0][1][-1].key.startswith("task:double:")


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
