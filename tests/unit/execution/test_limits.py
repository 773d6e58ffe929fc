"""What a run may come to: results, journals, tries and reasons that fit no message, or no run."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aiki.core.errors import TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits, Pools, ends
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import WHY_CHARS
from aiki.wire.packing import too_large
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@task
async def work(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@workflow(name="works", version="1")
async def works(run: WorkflowRun, times: list[float]) -> float:
    return sum([await work.run(run, seconds) for seconds in times])


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
