"""Cancels of running bodies: when they are interrupted, what they come to, and that their replay is the same."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
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
from aiki.inside.event import Event
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import CLAIMED_ARRIVALS
from tests.unit.execution import beating_tasks
from tests.unit.execution.replays import again, calls, double, error_of, slow
from tests.waiting import wait_until
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import EPOCH, World

SECOND = 1_000_000
approved = Event("approved", type=str)

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
At = tuple[float, Callable[[World], object]]


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


def lived(body: Body, *moments: At, **options: Any) -> World:
    """Run the body to its end while this happens at its second."""

    @workflow(name="lived", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        over = asyncio.create_task(world.finish())
        for seconds, do in moments:
            await asyncio.sleep(max(0, seconds - (world.clock() - EPOCH) / SECOND))
            do(world)
        await over
        return world

    return simulate(main())


def at(seconds: float, reason: str = "requested") -> At:
    return seconds, lambda world: world.cancel(reason)


def keys(world: World) -> list[str]:
    return [entry.key.split(":")[0] for entry in world.journal]


def ended(world: World) -> Move:
    assert world.end is not None
    return world.end.move


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


@task(cancel_grace="5s")
async def stubborn(seconds: float) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        calls.append("told")
        await asyncio.sleep(seconds)
        calls.append("over")
    return "done"


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
    asked: Any = [DurableCall(tries, str(n), tries, b"", 0, 0) for n in range(20_000)]
    began = time.process_time()
    for call in asked:
        assert not cancelling.keeps(call)
        cancelling.keep(call, True, b"null")
    assert time.process_time() - began < 2
    assert [call for call, _, _ in cancelling.release()] == asked
