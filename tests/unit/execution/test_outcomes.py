"""What user code may raise and return: whatever it is, its task ends, and so does its run."""

from __future__ import annotations

import asyncio
import inspect
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Failure
from tests.unit.execution.calling import Flaky, calling, end_outside, finish, finish_outside

SECOND = 1_000_000
_marked: Any = getattr(inspect, "markcoroutinefunction", None)


class Interrupts(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@task(name="interrupts", retry=Retry.none())
async def interrupts_in_loop() -> None:
    raise Interrupts


@task(name="interrupts", retry=Retry.none())
def interrupts_in_thread() -> None:
    raise Interrupts


@pytest.mark.parametrize("failing", [interrupts_in_loop, interrupts_in_thread])
def test_a_task_ends_whatever_the_text_of_its_error_does(failing: Any, pools: Pools) -> None:
    assert "KeyboardInterrupt was raised" in finish_outside(calling(failing), pools)


def test_a_run_ends_whatever_the_text_of_its_error_does(pools: Pools) -> None:
    @workflow
    async def fails(run: WorkflowRun) -> None:
        raise Interrupts

    end = end_outside(fails, pools)
    assert end.move is Move.FAIL
    assert b"KeyboardInterrupt was raised" in bytes(end.error)


@dataclass
class ExitsWhenRead:
    value: int = 0

    def __post_init__(self) -> None:
        if self.value:
            raise SystemExit


def test_a_result_whose_class_exits_when_it_is_read_fails_the_run(pools: Pools) -> None:
    @task(retry=Retry.none())
    async def makes() -> ExitsWhenRead:
        made = ExitsWhenRead()
        made.value = 1
        return made

    @workflow
    async def takes(run: WorkflowRun) -> None:
        await makes.run(run)

    end = end_outside(takes, pools)
    assert end.move is Move.FAIL
    assert b"SystemExit" in bytes(end.error)


@pytest.mark.skipif(_marked is None, reason="Python 3.12 is the first that can mark functions")
@pytest.mark.parametrize("error", [None, ValueError("when called"), SystemExit(3)])
def test_what_a_decorated_body_does_before_it_has_a_coroutine_is_the_runs(
    error: BaseException | None, pools: Pools
) -> None:
    async def body(run: WorkflowRun, first: float) -> bool:
        return first != run.random()

    def decorated(run: WorkflowRun) -> Any:
        if error is not None:
            raise error
        return body(run, run.random())

    end = end_outside(workflow(_marked(decorated)), pools)
    assert end.move is (Move.FAIL if error else Move.COMPLETE), bytes(end.error)
    assert type(error).__name__.encode() in bytes(end.error) or error is None


@pytest.mark.parametrize("steps", [1, 2])
def test_what_a_body_raises_when_a_task_has_ended_is_caused_by_nothing_else(steps: int, pools: Pools) -> None:
    @task
    async def ends() -> None:
        for _ in range(1, steps):
            await asyncio.sleep(0)

    @workflow
    async def fails(run: WorkflowRun) -> None:
        await ends.run(run)
        assert sys.exc_info() == (None, None, None)
        raise ValueError("mine")

    failure = msgspec.json.decode(end_outside(fails, pools).error, type=Failure)
    assert (failure.type, failure.cause) == ("ValueError", None)
    assert "another exception occurred" not in failure.traceback


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_would_end_the_worker_is_a_failed_attempt(error: BaseException) -> None:
    flaky = Flaky(error, retry=Retry.none())
    assert f'"TaskFailed","{type(error).__name__}"' in finish(calling(flaky.task))[1]


def test_sys_exit_in_a_thread_is_a_failed_attempt(pools: Pools) -> None:
    @task(retry=Retry.none())
    def leaves() -> None:
        sys.exit(4)

    assert finish_outside(calling(leaves), pools) == '["TaskFailed","SystemExit","4",1]'


def test_a_result_that_cannot_be_stored_fails_the_task_without_retry() -> None:
    @task(retry=Retry.fixed(5, "1ms"))
    async def lies() -> int:
        return "text"  # type: ignore[return-value]  # the mistake this test is about

    output = finish(calling(lies))[1]
    assert output.startswith('["TaskFailed","PayloadError"')
    assert output.endswith(",1]")


def test_an_error_whose_text_cannot_be_read_is_still_told() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert "cannot be read" in finish(calling(Flaky(Broken(), retry=Retry.none()).task))[1]


def test_a_long_error_is_cut() -> None:
    world, _ = finish(calling(Flaky(ValueError("x" * 100_000 + "\udfff"), retry=Retry.none()).task))
    assert len(bytes(world.journal[0].value)) < 16 * 1024
