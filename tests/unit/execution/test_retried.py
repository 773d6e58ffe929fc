"""Retried bodies: what stands before the cut is not done again, and time goes on from the retry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki.core.errors import EventTimeout, TaskFailed
from aiki.core.states import Move
from aiki.inside.workflow_run import WorkflowRun
from aiki.rules.histories import read
from tests.unit.execution.replays import output
from tests.unit.execution.retrying import (
    DAY,
    FIRST,
    RETRY,
    SECOND,
    approved,
    broken,
    charge,
    lived,
    names,
    retried,
    retry_of,
    tried,
    work,
)
from tests.worlds.view import EPOCH
from tests.worlds.world import World


@pytest.fixture(autouse=True)
def _nothing_broken() -> Iterator[None]:
    tried.clear()
    broken.clear()
    yield
    broken.clear()


def failed(body: Any, *names: str) -> World:
    """Run the body to its failure, while it fails at these; then they are mended."""
    broken.update(names)
    world = lived(body)
    assert world.end is not None
    assert world.end.move is Move.FAIL
    broken.clear()
    tried.clear()
    return world


def seconds(run: WorkflowRun) -> float:
    return round((run.now().timestamp() * SECOND - EPOCH) / SECOND, 1)


def result(world: World) -> Any:
    return json.loads(output(world))


async def three_steps(run: WorkflowRun) -> list[str]:
    return [await work.run(run, name) for name in ("a", "b", "c")]


def test_a_retry_goes_on_at_the_task_that_failed() -> None:
    world = retried(failed(three_steps, "b"))
    assert result(world) == ["a", "b", "c"]
    assert tried == ["b 2", "c 1"], "its tries are counted on"


def test_a_retry_that_was_cut_short_goes_on_by_what_it_has_recorded() -> None:
    world = retried(failed(three_steps, "b"))
    for length in range(3, len(world.journal) + 1):
        tried.clear()
        assert result(retried(world, journal=world.journal[:length])) == ["a", "b", "c"]
        assert len(tried) == len(world.journal) - length


def test_a_retry_that_fails_is_retried_on_the_same_journal() -> None:
    first = failed(three_steps, "b")
    broken.add("c")
    second = retried(first)
    broken.clear()
    tried.clear()
    assert result(retried(second)) == ["a", "b", "c"]
    assert tried == ["c 2"]


def test_code_that_was_mended_goes_on_behind_all_that_it_had_done() -> None:
    async def wrong(run: WorkflowRun) -> str:
        await work.run(run, "a")
        raise ValueError("a mistake")

    async def mended(run: WorkflowRun) -> str:
        await work.run(run, "a")
        return await work.run(run, "b")

    assert result(retried(failed(wrong), mended)) == "b"
    assert tried == ["b 1"]


async def gathered(run: WorkflowRun) -> list[str]:
    return [*await asyncio.gather(work.run(run, "bad", 1), work.run(run, "sibling", 2), work.run(run, "first", 0))]


async def gathered_to_the_end(run: WorkflowRun) -> list[str]:
    found = await asyncio.gather(
        work.run(run, "bad", 1), work.run(run, "sibling", 2), work.run(run, "worse", 3), return_exceptions=True
    )
    if errors := [one for one in found if isinstance(one, Exception)]:
        raise ExceptionGroup("some failed", errors)
    return [str(one) for one in found]


def test_what_had_ended_after_the_cut_is_not_done_again_but_recorded_anew() -> None:
    world = failed(gathered_to_the_end, "bad", "worse")
    assert names(world) == ["work", "work", "work"]
    after = retried(world)
    assert result(after) == ["bad", "sibling", "worse"]
    assert sorted(tried) == ["bad 2", "worse 2"], "all that failed is tried again in one retry"
    assert [entry.ok for entry in read(after.journal).entries] == [True, True, True]
    tried.clear()
    assert result(retried(after, journal=after.journal)) == ["bad", "sibling", "worse"]
    assert tried == []


def test_what_was_still_running_at_the_failure_is_tried_again() -> None:
    assert result(retried(failed(gathered, "bad"))) == ["bad", "sibling", "first"]
    assert sorted(tried) == ["bad 2", "sibling 1"]


def test_a_task_that_had_given_up_has_all_its_tries_again() -> None:
    async def body(run: WorkflowRun) -> str:
        return await charge.run(run, "card")

    world = failed(body, "card")
    broken.add("card")
    again = retried(world)
    assert tried == ["card 4", "card 5", "card 6"]
    assert again.end is not None
    assert again.end.move is Move.FAIL
    broken.clear()
    assert result(retried(again)) == "card"


def test_time_goes_on_from_the_retry() -> None:
    async def body(run: WorkflowRun) -> list[float]:
        await run.sleep("10s")
        before = seconds(run)
        await work.run(run, "a")
        after = seconds(run)
        await run.sleep("5s")
        return [before, after, seconds(run)]

    assert result(retried(failed(body, "a"), after=DAY)) == [10.0, DAY + 10.0, DAY + 15.0]


def test_what_was_pending_keeps_the_time_that_it_had_left() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        async def beside() -> float:
            await run.sleep("60s")
            return seconds(run)

        async with asyncio.timeout(100):
            found = await asyncio.gather(work.run(run, "a", 10), beside())
            await run.sleep("30s")
        return [*found, seconds(run)]

    assert result(retried(failed(body, "a"), after=DAY)) == ["a", DAY + 60.0, DAY + 90.0]


def test_a_timeout_that_had_little_left_still_ends_what_takes_longer() -> None:
    async def body(run: WorkflowRun) -> str:
        async with asyncio.timeout(12):
            return await work.run(run, "a", 10)

    after = retried(failed(body, "a"), after=DAY)
    assert after.end is not None
    assert "TimeoutError" in bytes(after.end.error).decode()


def test_a_wait_at_the_cut_has_its_whole_timeout_again() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved, timeout="60s")

    async def patient(run: WorkflowRun) -> float:
        try:
            await run.wait_for(approved, timeout="60s")
        except EventTimeout:
            return seconds(run)
        raise AssertionError

    assert result(retried(failed(body), patient, after=DAY)) == DAY + 120.0


def test_a_wait_for_a_date_keeps_its_date() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        noon = datetime.fromtimestamp(EPOCH / SECOND, UTC) + timedelta(seconds=60)

        async def beside() -> float:
            await run.sleep_until(noon)
            return seconds(run)

        return [*await asyncio.gather(work.run(run, "a", 10), beside())]

    assert result(retried(failed(body, "a"), after=20)) == ["a", 60.0]
    assert result(retried(failed(body, "a"), after=DAY)) == ["a", DAY + 10.0], "at once, since that has passed"


def test_a_bound_on_all_tries_does_not_count_the_time_between() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        return [*await asyncio.gather(work.run(run, "a", 0.5), charge.run(run, "card"))]

    world = failed(body, "a", "card")
    broken.add("card")
    again = retried(world, after=DAY)
    assert again.end is not None
    assert "ValueError" in bytes(again.end.error).decode(), "and not a timeout"
    assert tried[-2:] == ["card 2", "card 3"]


async def told_who_it_is(run: WorkflowRun) -> list[list[Any]]:
    found = [[run.run_id, run.attempt]]
    for name in ("a", "b", "c"):
        await work.run(run, f"{name} of {run.run_id}")
        found.append([run.run_id, run.attempt])
    return found


def test_a_body_sees_itself_as_the_retry_from_where_that_goes_on() -> None:
    first = failed(told_who_it_is, f"b of {FIRST}")
    broken.add(f"c of {RETRY.format(2)}")
    second = retried(first)
    broken.clear()
    one = [[FIRST, 1]]
    assert result(retried(second)) == [*one, *one, [RETRY.format(2), 2], [RETRY.format(3), 3]]
    assert tried[-1] == f"c of {RETRY.format(2)} 2", "what was asked before the cut is what it was"


def test_what_is_sent_has_the_same_id_before_a_cut_and_another_behind_it() -> None:
    sent: list[list[str]] = []

    async def body(run: WorkflowRun) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run.send(run.origin_id, approved, "before"))
            group.create_task(work.run(run, "a", 1))
        await run.send(run.origin_id, approved, "behind")

    def ids(world: World) -> list[str]:
        return [op.id for unit in world.units for op in unit.ops]

    world = failed(body, "a")
    sent.append(ids(world))
    after = retried(world)
    assert after.end is not None
    assert after.end.move is Move.COMPLETE
    whole = lived(body)
    assert sent[0] == ids(whole)[:1]
    assert ids(after)[0] != ids(whole)[1]


def test_lines_of_the_log_are_not_written_again_by_a_retry(caplog: pytest.LogCaptureFixture) -> None:
    async def body(run: WorkflowRun) -> str:
        run.log.info("begun")
        result = await work.run(run, "a")
        run.log.info("done")
        return result

    caplog.set_level("INFO", "aiki.run")
    world = failed(body, "a")
    retried(world)
    assert [record.message for record in caplog.records if record.message in ("begun", "done")] == ["begun", "done"]


def test_a_patch_in_mended_code_before_the_cut_does_not_stop_time() -> None:
    async def wrong(run: WorkflowRun) -> None:
        await work.run(run, "a")
        raise ValueError("a mistake")

    async def mended(run: WorkflowRun) -> list[Any]:
        await work.run(run, "a")
        patched = run.patched("mend")
        await work.run(run, "b")
        return [patched, run.attempt, seconds(run)]

    after = retried(failed(wrong), mended, after=DAY)
    assert result(after) == [True, 2, float(DAY)]
    assert result(retried(after, journal=after.journal)) == [True, 2, float(DAY)]


def test_a_failure_that_the_body_handles_is_given_again_before_a_later_cut() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            await work.run(run, "card")
        except TaskFailed:
            await work.run(run, "cheque")
        return await work.run(run, "ship")

    world = failed(body, "card", "ship")
    assert result(retried(world)) == "ship"
    assert tried == ["ship 2"]


def test_a_retry_of_a_retry_from_before_its_cut_counts_what_counts() -> None:
    first = failed(three_steps, "b")
    broken.add("c")
    second = retried(first)
    broken.clear()
    tried.clear()
    journal = [*second.journal, retry_of(second, cut=0)]
    assert result(retried(second, journal=journal)) == ["a", "b", "c"]
    assert tried == ["a 1", "b 2", "c 2"]
