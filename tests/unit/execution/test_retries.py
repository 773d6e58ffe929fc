"""When a task is tried again, and what of its tries is on record."""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.errors import Fatal, RetryAfter
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.calling import Flaky, calling, finish
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000


def test_a_short_delay_is_waited_in_memory_and_the_attempt_is_recorded_beside_the_log() -> None:
    flaky = Flaky(ValueError("one"), retry=Retry.fixed(3, "2s"))
    world, output = finish(calling(flaky.task))
    assert output == '["done"]'
    assert world.epoch == 1
    assert [row.attempt for row in world.attempts] == [1]
    assert '"message":"one"' in bytes(world.attempts[0].error).decode()
    assert world.attempts[0].next_at == EPOCH + 2 * SECOND
    assert [me.attempt for me in flaky.tries] == [1, 2]
    assert len(world.journal) == 1


def test_the_idempotency_key_of_a_task_is_the_same_in_every_attempt() -> None:
    flaky = Flaky(ValueError, ValueError, retry=Retry.fixed(3, "1s"))
    finish(calling(flaky.task))
    assert len({me.idempotency_key for me in flaky.tries}) == 1
    assert len(flaky.tries[0].idempotency_key) == 32


def test_a_long_delay_suspends_the_run_in_the_commit_of_the_attempt() -> None:
    flaky = Flaky(ValueError("one"), retry=Retry.fixed(2, "1h"))
    world, output = finish(calling(flaky.task))
    assert output == '["done"]'
    assert world.ends == [Move.RETRY, Move.COMPLETE]
    first = world.units[0]
    assert (len(first.attempts), len(first.entries)) == (1, 0)
    assert first.end is not None
    assert first.end.due_at == EPOCH + 3600 * SECOND
    assert flaky.times[1] - flaky.times[0] >= 3600


def test_attempts_survive_a_crash() -> None:
    flaky = Flaky(ValueError("one"), ValueError("two"), ValueError("three"), retry=Retry.fixed(3, "2s"))

    async def main() -> World:
        world = World(calling(flaky.task))
        world.claim()
        await asyncio.sleep(1)
        world.crash()
        await world.finish()
        return world

    world = simulate(main())
    assert [me.attempt for me in flaky.tries] == [1, 2, 3]
    assert flaky.times[1] >= 2, "the delay of the lost claim was not kept"
    assert world.end is not None
    assert bytes(world.end.output).decode() == '["TaskFailed","ValueError","three",3]'


def test_fatal_stops_retrying() -> None:
    flaky = Flaky(Fatal("never"), retry=Retry.fixed(3, "1s"))
    assert finish(calling(flaky.task))[1] == '["TaskFailed","Fatal","never",1]'


def test_retry_after_overrides_the_delay_and_counts_as_an_attempt() -> None:
    flaky = Flaky(RetryAfter("3s"), RetryAfter("3s"), retry=Retry.fixed(2, "1ms"))
    assert finish(calling(flaky.task))[1].startswith('["TaskFailed","RetryAfter"')
    assert flaky.times[1] - flaky.times[0] >= 3


def test_a_delay_that_is_none_fails_the_task_and_says_so() -> None:
    flaky = Flaky(RetryAfter("soonish"), retry=Retry.fixed(2, "1ms"))
    assert finish(calling(flaky.task))[1].startswith('["TaskFailed","UsageError","\'soonish\' is not a duration')


def test_only_on_and_never_on_choose_the_errors_that_are_retried() -> None:
    other = Flaky(KeyError("k"), retry=Retry.fixed(3, "1ms", only_on=ValueError))
    assert finish(calling(other.task))[1] == '["TaskFailed","KeyError","\'k\'",1]'
    never = Flaky(ValueError("v"), retry=Retry.fixed(3, "1ms", never_on=ValueError))
    assert finish(calling(never.task))[1] == '["TaskFailed","ValueError","v",1]'


def test_total_timeout_ends_all_attempts_together() -> None:
    flaky = Flaky(
        *[ValueError(str(number)) for number in range(20)], retry=Retry.fixed(20, "1s"), total_timeout="3500ms"
    )
    assert finish(calling(flaky.task))[1] == '["TaskFailed","ValueError","3",4]'


def test_a_task_that_is_abandoned_is_cancelled_and_not_tried_again() -> None:
    ended: list[str] = []

    @task(retry=Retry.fixed(3, "1ms"))
    async def long() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @workflow(name="leaves", version="1")
    async def leaves(run: WorkflowRun) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(long.run(run), 1)
        await run.sleep("1s")

    finish(leaves)
    assert ended == ["cancelled"]
