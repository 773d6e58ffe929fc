"""What becomes of the tries of a run that is cancelled: they are told, have their grace, and are not repeated."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aiki.core.errors import TaskCancelled, TaskOutcomeUnknown
from aiki.core.states import Move, State
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.execution.cancelling import Cancelling
from aiki.execution.kind import DurableCall
from aiki.execution.tasks.processes import Processes
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import CLAIMED_ARRIVALS
from tests.unit.execution import beating_tasks
from tests.unit.execution.cancelled import SECOND, approved, at, ended, keys, lived, stubborn
from tests.unit.execution.replays import again, calls, slow
from tests.waiting import wait_until
from tests.worlds.world import World


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


def test_a_running_try_is_cancelled_before_the_body_hears_of_it() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await stubborn.run(run, 2.0)
        finally:
            calls.append("the body")

    world = lived(body, at(1))
    assert calls == ["told", "over", "the body"]
    assert keys(world) == ["cancel", "task", "interrupt"]
    assert world.journal[2].at - world.journal[0].at >= 2 * SECOND
    assert ended(world) is Move.CANCEL


def test_a_try_that_outlives_its_grace_is_left() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await stubborn.run(run, 30.0)
        finally:
            calls.append("the body")

    world = lived(body, at(1))
    assert calls == ["told", "the body"]
    assert keys(world) == ["cancel", "interrupt"]
    assert 5 * SECOND <= world.journal[1].at - world.journal[0].at <= 5.1 * SECOND


def test_a_claim_that_finds_a_cancel_repeats_no_task() -> None:
    async def body(run: WorkflowRun) -> None:
        await slow.run(run, 1)

    def crash_and_cancel(world: World) -> None:
        world.crash()
        world.cancel()

    world = lived(body, (2, crash_and_cancel))
    assert calls == ["slow 1"]
    assert (keys(world), ended(world), world.epoch) == (["cancel", "interrupt"], Move.CANCEL, 2)


def test_a_claim_that_finds_the_cancel_without_the_interruption_repeats_no_task() -> None:
    async def body(run: WorkflowRun) -> None:
        await stubborn.run(run, 4.0)

    world = lived(body, at(1), (3, World.crash))
    assert calls == ["told"]
    assert (keys(world), ended(world), world.epoch) == (["cancel", "interrupt"], Move.CANCEL, 2)


def test_a_claim_whose_cancel_lies_behind_many_events_repeats_no_task() -> None:
    async def body(run: WorkflowRun) -> None:
        await slow.run(run, 1)

    def crash_and_cancel(world: World) -> None:
        world.crash()
        for number in range(2 * CLAIMED_ARRIVALS):
            world.send(approved.bind(str(number)))
        world.cancel()

    world = lived(body, (2, crash_and_cancel))
    assert (calls, keys(world), ended(world)) == (["slow 1"], ["cancel", "interrupt"], Move.CANCEL)


def test_many_unread_events_keep_no_task_from_being_tried() -> None:
    async def body(run: WorkflowRun) -> None:
        await slow.run(run, 1)

    def crash_and_send(world: World) -> None:
        world.crash()
        for number in range(2 * CLAIMED_ARRIVALS):
            world.send(approved.bind(str(number)))

    world = lived(body, (2, crash_and_send))
    assert (calls, ended(world)) == (["slow 1", "slow 1"], Move.COMPLETE)


@task(at_most_once=True)
async def charge() -> None:
    await asyncio.sleep(60)


def test_an_at_most_once_task_that_was_cut_off_is_unknown_to_whoever_hears_of_it() -> None:
    async def body(run: WorkflowRun) -> None:
        charging = asyncio.ensure_future(charge.run(run))
        try:
            await asyncio.shield(charging)
        finally:
            try:
                await charging
            except TaskOutcomeUnknown as error:
                calls.append(error.task)

    assert (ended(lived(body, at(1))), calls) == (Move.CANCEL, ["charge"])


def test_a_try_that_the_body_gives_up_as_the_cancel_comes_holds_up_no_interruption() -> None:
    async def body(run: WorkflowRun) -> None:
        charging = asyncio.create_task(slow.run(run, 60))
        await run.wait_for(approved)
        charging.cancel()
        await slow.run(run, 1)

    def both(world: World) -> None:
        world.along = (0,)  # they are read, so they come together
        world.send(approved.bind("in time"))
        world.cancel()

    world = lived(body, (1, both))
    assert (world.state, keys(world)) == (State.CANCELLED, ["event", "cancel", "interrupt"])


@pytest.mark.parametrize(
    ("one", "leaves"),
    [(beating_tasks.cleans_up, True), (beating_tasks.minds_no_word, False)],
    ids=["cleans up", "minds no word"],
)
def test_a_process_has_its_grace_and_is_killed_before_the_body_hears_of_the_cancel(
    one: Task[Any, Any], leaves: bool, tmp_path: Path
) -> None:
    pools = Pools(processes=Processes(1))
    sign, left = tmp_path / "sign", tmp_path / "left"

    @workflow(name="charges", version="1")
    async def charges(run: WorkflowRun) -> None:
        try:
            await one.run(run, str(sign), str(left))
        finally:
            assert left.exists() is leaves
            await beating_tasks.beats.run(run, 1)  # the only child is free when the other has ended

    async def main() -> World:
        world = World(charges, pools=pools)
        world.claim()
        await wait_until(sign.exists, 60, what="the task in its process")
        world.cancel()
        await wait_until(lambda: world.execution is None, 60, what="the end")
        return world

    world = asyncio.run(main())
    pools.close()
    assert (world.ends, keys(world)[-1]) == ([Move.CANCEL], "task")
    seconds = (world.journal[-2].at - world.journal[0].at) / SECOND
    assert leaves or seconds >= 1


def test_a_thread_hears_of_the_cancel_by_its_next_heartbeat_or_by_looking(pools: Pools) -> None:
    @task
    def look() -> None:
        begun.set()
        while not task_run().cancelled:
            time.sleep(0.01)
        calls.append("looked")

    @task
    def beat() -> None:
        try:
            while True:
                time.sleep(0.01)
                task_run().heartbeat()
        except TaskCancelled:
            calls.append("beat")
            raise

    @workflow(name="both", version="1")
    async def both(run: WorkflowRun) -> None:
        try:
            await asyncio.gather(look.run(run), beat.run(run))
        finally:
            calls.append("the body")

    begun = threading.Event()

    async def main() -> World:
        world = World(both, pools=pools)
        world.claim()
        await wait_until(begun.is_set, 60, what="the threads")
        world.cancel()
        await wait_until(lambda: world.execution is None, 60, what="the end")
        return world

    world = asyncio.run(main())
    assert (sorted(calls[:2]), calls[2:]) == (["beat", "looked"], ["the body"])
    assert world.ends == [Move.CANCEL]


def test_compensation_that_shares_the_call_of_a_cut_off_task_gets_its_recorded_result() -> None:
    shared = stubborn.options(idempotency_key="charge")

    async def body(run: WorkflowRun) -> None:
        try:
            await shared.run(run, 2.0)
        finally:
            calls.append(await shared.run(run, 2.0))

    world = lived(body, at(1))
    assert calls == ["told", "over", "done"]
    assert (keys(world), ended(again(world))) == (["cancel", "task", "interrupt"], Move.CANCEL)


def test_what_a_cancel_keeps_of_very_many_tries_costs_the_same_for_each() -> None:
    tries: Any = None
    cancelling = Cancelling(tries, lambda: None)
    asked: Any = [DurableCall(tries, str(n), tries, b"", 0, 0, tries) for n in range(20_000)]
    began = time.process_time()
    for call in asked:
        assert not cancelling.keeps(call)
        cancelling.keep(call, True, b"null")
    assert time.process_time() - began < 2
    assert [call for call, _, _ in cancelling.release()] == asked
