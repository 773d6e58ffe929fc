"""How a claim begins, rests and ends: slots, suspension, draining, stopping, losing it, and what the daemon answers."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from aiki.core.errors import NotFound
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import ClaimedRun, Limits
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import InboxReply, Recorded, Unit
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000
events: list[str] = []


@pytest.fixture(autouse=True)
def no_events() -> None:
    events.clear()


@task
async def work(seconds: float) -> float:
    events.append(f"start {seconds:g}")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        events.append(f"cancel {seconds:g}")
        raise
    events.append(f"end {seconds:g}")
    return seconds


@workflow(name="works", version="1")
async def works(run: WorkflowRun, times: list[float]) -> float:
    return sum([await work.run(run, seconds) for seconds in times])


@workflow(name="sleeps", version="1")
async def sleeps(run: WorkflowRun, first: float, second: float) -> str:
    await asyncio.sleep(first)
    await asyncio.sleep(second)
    return "slept"


async def begun(flow: Workflow[Any, Any], input: str, **options: Any) -> World:
    """Claim the run, and let two seconds go by."""
    world = World(flow, input.encode(), **options)
    world.claim()
    await asyncio.sleep(2)
    return world


# -- beginning


def test_an_input_that_does_not_fit_fails_the_run() -> None:
    async def main() -> None:
        world = World(works, b'{"times":["soon"]}')
        end = await world.finish()
        assert end.move is Move.FAIL
        assert b'"type":"PayloadError"' in bytes(end.error)
        assert b"$.times[0]" in bytes(end.error)

    simulate(main())


def test_no_task_starts_while_the_lease_is_uncertain() -> None:
    async def main() -> None:
        world = World(works, b'{"times":[1]}')
        world.lease.certain_until = 0.0
        world.claim()
        await asyncio.sleep(60)
        assert events == []
        world.lease.certain_until = math.inf
        await asyncio.sleep(1)
        assert events == ["start 1"]

    simulate(main())


# -- resting


def test_a_short_sleep_is_waited_in_memory_without_a_slot() -> None:
    async def main() -> None:
        world = await begun(sleeps, '{"first":5,"second":5}')
        assert world.lingered == 1
        assert world.units == []
        await world.finish()
        assert (world.epoch, world.lingered, world.ends) == (1, 2, [Move.COMPLETE])

    simulate(main())


def test_a_long_sleep_leaves_memory_in_one_commit_with_what_came_before() -> None:
    async def main() -> None:
        world = await begun(sleeps, '{"first":1,"second":3600}')
        assert world.state is State.SLEEPING
        assert world.execution is None
        assert [(len(unit.entries), unit.end is not None) for unit in world.units] == [(1, True)]
        assert world.end is not None
        assert world.end.due_at == EPOCH + 3601 * SECOND
        end = await world.finish()
        assert end.move is Move.COMPLETE

    simulate(main())


def test_a_run_that_gets_the_slot_of_a_failure_is_not_caused_by_it() -> None:
    @workflow
    async def fails(run: WorkflowRun) -> None:
        await run.sleep("1s")
        raise ValueError("mine")

    class Short(World):
        """Its worker has a slot when another run has lost its own."""

        def wants_slot(self, run: ClaimedRun) -> None:
            try:
                raise NotFound("another run")
            except NotFound:
                run.on_slot()

    async def main() -> None:
        end = await Short(fails).finish()
        assert b"ValueError" in bytes(end.error)
        assert b"NotFound" not in bytes(end.error)

    simulate(main())


def test_a_lingering_run_leaves_memory_when_it_is_asked_to() -> None:
    async def main() -> None:
        world = await begun(sleeps, '{"first":5,"second":0}')
        assert world.execution is not None
        world.execution.suspend()
        await world.settle()
        assert world.state is State.SLEEPING
        assert world.end is not None
        assert world.end.due_at == EPOCH + 5 * SECOND

    simulate(main())


def test_a_run_with_a_task_at_work_is_not_suspended() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[5]}')
        assert world.execution is not None
        world.execution.suspend()
        await world.finish()
        assert world.ends == [Move.COMPLETE]
        assert world.lingered == 0

    simulate(main())


# -- draining, stopping, losing


def test_draining_lets_a_task_end_and_releases_before_the_next() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[5,6]}')
        assert world.execution is not None
        world.execution.drain()
        await world.settle()
        assert events == ["start 5", "end 5"]
        assert world.ends == [Move.RELEASE]
        assert len(world.journal) == 1
        await world.finish()
        assert events == ["start 5", "end 5", "start 6", "end 6"]

    simulate(main())


def test_draining_lets_a_run_complete_whose_last_task_ends() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[5]}')
        assert world.execution is not None
        world.execution.drain()
        await world.settle()
        assert world.ends == [Move.COMPLETE]

    simulate(main())


def test_draining_suspends_a_run_that_lingers() -> None:
    async def main() -> None:
        world = await begun(sleeps, '{"first":5,"second":0}')
        assert world.execution is not None
        world.execution.drain()
        await world.settle()
        assert world.ends == [Move.SLEEP]

    simulate(main())


def test_a_run_that_is_wanted_paused_lets_its_task_end_and_starts_no_other() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[5,6]}')
        assert world.execution is not None
        world.pause()
        await world.settle()
        assert events == ["start 5", "end 5"]
        assert world.ends == [Move.RELEASE]
        assert len(world.journal) == 1

    simulate(main())


def test_a_pause_that_is_heard_of_while_a_park_is_refused_is_not_forgotten() -> None:
    async def main() -> None:
        world = World(sleeps, b'{"first":60,"second":0}', limits=Limits(linger_seconds=0))
        refused: list[Unit] = []

        def refuse_once(unit: Unit) -> Recorded | None:
            if refused or unit.end is None:
                return None
            refused.append(unit)
            assert world.execution is not None
            world.execution.on_inbox(InboxReply(news=1, wanted="pause"))
            return Recorded("done", parked=False, news=1)

        world.before_record = refuse_once
        world.claim()
        await world.settle()
        assert world.ends == [Move.RELEASE]

    simulate(main())


def test_news_of_which_nothing_is_wanted_stops_nothing() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[5,6]}')
        assert world.execution is not None
        world.execution.on_news(1)
        world.execution.on_news(2)
        await world.settle()
        assert world.ends == [Move.COMPLETE]

    simulate(main())


def test_stopping_cancels_tasks_and_releases_at_once() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[1,50]}')
        assert world.execution is not None
        world.execution.stop()
        await world.settle()
        assert events == ["start 1", "end 1", "start 50", "cancel 50"]
        assert world.ends == [Move.RELEASE]
        assert len(world.journal) == 1
        assert world.attempts == []
        await world.finish()
        assert world.state is State.COMPLETED

    simulate(main())


@pytest.mark.parametrize("method", ["stop", "drain"])
def test_a_run_whose_journal_is_still_read_is_released(method: str) -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[1,0.5,50]}')
        world.crash()
        world.page_length = 1
        world.claim()
        assert world.execution is not None
        getattr(world.execution, method)()
        await world.settle()
        assert world.ends == [Move.RELEASE]
        await world.finish()

    simulate(main())


def test_a_dropped_run_cancels_its_tasks_and_writes_nothing() -> None:
    async def main() -> None:
        world = await begun(works, '{"times":[1,50]}')
        written = len(world.units)
        assert world.execution is not None
        world.execution.drop()
        assert world.execution is None
        await asyncio.sleep(1)
        assert events[-1] == "cancel 50"
        assert len(world.units) == written

    simulate(main())


# -- what the daemon answers


def test_a_run_that_was_lost_is_dropped() -> None:
    async def main() -> None:
        world = World(works, b'{"times":[1,50]}')
        world.before_record = lambda unit: Recorded("fenced")
        world.claim()
        await world.settle()
        assert world.execution is None
        assert world.units == []
        assert events == ["start 1", "end 1"]

    simulate(main())


@pytest.mark.parametrize("forever", [False, True])
def test_a_run_whose_journal_holds_another_outcome_is_given_back(*, forever: bool) -> None:
    """Nobody else has it: until it is released it would be this worker's, and stand still."""

    async def main() -> None:
        world = World(works, b'{"times":[1,50]}')
        world.before_record = lambda unit: Recorded("conflict") if forever or unit.end is None else None
        world.claim()
        await world.settle()
        assert events == ["start 1", "end 1"]
        assert world.ends == ([] if forever else [Move.RELEASE])
        assert world.journal == []

    simulate(main())


def test_a_run_whose_record_is_refused_fails_with_the_reason() -> None:
    def refuse(unit: Unit) -> Recorded | None:
        return Recorded("refused", "bad data") if unit.entries else None

    async def main() -> None:
        world = World(works, b'{"times":[1,50]}')
        world.before_record = refuse
        end = await world.finish()
        assert end.move is Move.FAIL
        assert b"bad data" in bytes(end.error)
        assert world.journal == []

    simulate(main())
