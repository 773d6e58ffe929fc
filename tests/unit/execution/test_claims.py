"""How a claim begins, rests and ends: slots, suspension, draining, stopping, losing it, and what the daemon answers."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from aiki.core.errors import TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import Limits, Pools, ends
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import WHY_CHARS
from aiki.wire.messages import Recorded, Unit
from aiki.wire.packing import too_large
from tests.model.execution_host import EPOCH, World, simulate

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


# -- limits


def test_a_result_that_fits_no_message_fails_its_task_and_the_run_goes_on() -> None:
    @task
    async def large(size: int) -> str:
        return "x" * size

    @workflow(name="large", version="1")
    async def catches(run: WorkflowRun, size: int) -> str:
        try:
            return await large.run(run, size)
        except TaskFailed as error:
            return error.message

    async def main() -> None:
        world = World(catches, b'{"size":40000}', message_bytes=64 * 1024)
        end = await world.finish()
        assert end.move is Move.COMPLETE
        assert bytes(end.output).startswith(b"\"the result of task 'large' has 40,002 bytes")
        assert b"max_payload of 65,536" in bytes(end.output)

    simulate(main())


def test_a_runs_own_result_that_fits_no_message_fails_it() -> None:
    @workflow(name="large", version="1")
    async def large(run: WorkflowRun) -> str:
        return "x" * 40_000

    async def main() -> None:
        end = await World(large, message_bytes=64 * 1024).finish()
        assert end.move is Move.FAIL
        assert b"the result of workflow 'large' has 40,002 bytes" in bytes(end.error)
        assert b"max_payload of 65,536" in bytes(end.error)

    simulate(main())


def test_a_journal_that_cannot_be_brought_blocks_the_run() -> None:
    async def main() -> None:
        world = World(works, b'{"times":[1,1,1]}')
        world.claim()
        await world.settle(until=lambda: len(world.journal) == 2)
        world.crash()
        world.page_length = 1
        world.refuse_page = too_large("entry 2", 100_000, room=64 * 1024)
        end = await world.finish()
        assert end.move is Move.OVERSIZE
        assert "max_payload of 65,536" in (end.why or "")
        assert "raise max_payload" in (end.why or "")

    simulate(main())


def test_tries_are_read_in_pages_before_the_body_begins() -> None:
    """Else a task whose try stands on a later page would be tried as if for the first time."""
    numbers: list[int] = []

    @task(retry=Retry.fixed(2, "10s"))
    async def fails_first(number: int) -> int:
        attempt = task_run().attempt
        numbers.append(attempt)
        if attempt == 1:
            raise ValueError(number)
        return number

    @workflow(name="fans", version="1")
    async def fans(run: WorkflowRun) -> int:
        return sum(await asyncio.gather(*(fails_first.run(run, number) for number in range(5))))

    async def main() -> None:
        world = World(fans, page_length=2)
        end = await world.finish()
        assert bytes(end.output) == b"10"
        assert world.epoch == 2, "it never left memory"
        assert sorted(numbers) == [1] * 5 + [2] * 5

    simulate(main())


def test_a_long_reason_keeps_its_end() -> None:
    """A diff ends with what to do."""
    end = ends.blocked("first\n" + "x" * 20_000 + "\nlast")
    assert end.why is not None
    assert len(end.why) <= WHY_CHARS
    assert (end.why[:5], end.why[-4:]) == ("first", "last")


def test_a_journal_beyond_the_hard_limit_fails_the_run() -> None:
    async def main() -> None:
        world = World(works, b'{"times":[0,0,0,0,0,0,0]}', limits=Limits(entries_soft=3, entries_hard=4))
        end = await world.finish()
        assert end.move is Move.FAIL
        assert b"UsageError" in bytes(end.error)
        assert b"split its work" in bytes(end.error)
        assert len(world.journal) == 4

    simulate(main())


def test_a_journal_beyond_the_soft_limit_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await World(works, b'{"times":[0,0,0,0]}', limits=Limits(entries_soft=2)).finish()

    with caplog.at_level(logging.WARNING, "aiki.execution"):
        simulate(main())
    assert [record.message for record in caplog.records if "its journal has 2 entries" in record.message]
    assert len(caplog.records) == 1


def test_pools_are_shared_and_closed_once() -> None:
    pools = Pools()
    pools.close()
    pools.close()
