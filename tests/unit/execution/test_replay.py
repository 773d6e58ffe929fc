"""What is recorded, in how many commits, and what replay does with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from aiki.core.errors import TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, calls, double, error_of, output, run
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@workflow(name="chain", version="1")
async def chain(run: WorkflowRun, length: int) -> int:
    number = 1
    for _ in range(length):
        number = await double.run(run, number)
    return number


def test_tasks_in_a_row_cost_one_commit_each_and_the_last_one_shares_it_with_the_completion() -> None:
    world = run(chain, b'{"length":4}')
    assert output(world) == "16"
    assert [(len(unit.entries), unit.end is not None) for unit in world.units] == [(1, False)] * 3 + [(1, True)]


def test_an_empty_run_is_one_commit() -> None:
    assert [(len(unit.entries), unit.end is not None) for unit in run(chain, b'{"length":0}').units] == [(0, True)]


def test_tasks_that_end_together_are_recorded_together() -> None:
    @workflow(name="fan", version="1")
    async def fan(run: WorkflowRun) -> list[int]:
        return await asyncio.gather(*[double.run(run, number) for number in range(5)])

    world = run(fan)
    assert output(world) == "[0,2,4,6,8]"
    assert [len(unit.entries) for unit in world.units] == [5]


def test_a_task_starts_only_when_the_outcome_before_it_is_durable() -> None:
    async def main() -> None:
        world = World(chain, b'{"length":2}', latency=(3.0,))
        world.claim()
        await asyncio.sleep(2.9)
        assert calls == ["double 1"]
        await asyncio.sleep(0.2)
        assert calls == ["double 1", "double 2"]

    simulate(main())


def test_replay_starts_nothing_again_and_gives_the_same_result() -> None:
    world = run(chain, b'{"length":3}')
    calls.clear()
    other = again(world)
    assert output(other) == output(world)
    assert calls == []
    assert [len(unit.entries) for unit in other.units] == [0]


def test_replay_reads_pages_until_the_whole_journal_is_there() -> None:
    world = run(chain, b'{"length":7}')
    calls.clear()

    async def main() -> World:
        other = World(chain, world.input, page_length=2)
        other.journal = list(world.journal)
        await other.finish()
        return other

    assert output(simulate(main())) == output(world)
    assert calls == []


def test_a_result_is_what_the_journal_holds_also_the_first_time() -> None:
    @dataclass
    class Pair:
        left: float
        right: tuple[int, ...] = ()

    shared = Pair(1, (2, 3))

    @task
    async def pair() -> Pair:
        return shared

    seen: list[Any] = []

    @workflow(name="pairs", version="1")
    async def pairs(run: WorkflowRun) -> None:
        made = await pair.run(run)
        seen.append(made)
        assert made is not shared

    again(run(pairs))
    assert seen == [Pair(1.0, (2, 3)), Pair(1.0, (2, 3))]
    assert [type(made.left) for made in seen] == [float, float]


def test_a_task_gets_its_arguments_as_they_were_when_it_was_asked_for() -> None:
    @task
    async def total(numbers: list[int]) -> int:
        numbers.append(100)
        return sum(numbers)

    @workflow(name="mutates", version="1")
    async def mutates(run: WorkflowRun) -> int:
        numbers = [1, 2]
        asked = asyncio.create_task(total.run(run, numbers))
        await asyncio.sleep(0)
        numbers.append(50)
        assert await asked == 103
        return sum(numbers)

    assert output(run(mutates)) == "53"


def test_a_failed_task_raises_in_the_body_and_a_failed_body_fails_the_run() -> None:
    @task
    async def breaks() -> None:
        raise ValueError("no such thing") from KeyError("k")

    once = breaks.options(retry=Retry.none())

    @workflow(name="fails", version="1")
    async def fails(run: WorkflowRun) -> None:
        with pytest.raises(TaskFailed) as caught:
            await once.run(run)
        error = caught.value
        assert (error.task, error.type, error.message, error.attempts) == ("breaks", "ValueError", "no such thing", 1)
        assert error.cause == "KeyError: 'k'"
        assert "in breaks" in error.traceback
        assert "aiki/execution" not in error.traceback
        raise error

    world = run(fails)
    assert world.state is State.FAILED
    assert world.end is not None
    text = error_of(world.end)
    assert '"type":"TaskFailed"' in text
    assert '"task":"breaks"' in text
    assert "in fails" in text
    assert again(world).state is State.FAILED
