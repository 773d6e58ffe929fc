"""Tries of tasks: where they run, when they are repeated, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiki.core.errors import Fatal, RetryAfter, TaskFailed, TaskOutcomeUnknown, UsageError
from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import Pools
from aiki.execution.tasks.threads import Threads
from aiki.inside.task_run import TaskRun, task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import NULL, End
from tests.model.execution_host import EPOCH, World, simulate
from tests.unit.execution import process_tasks
from tests.waiting import patient

SECOND = 1_000_000


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools()
    yield made
    made.close()


class Flaky:
    """A task that fails as often as it is told to, and remembers its tries."""

    def __init__(self, *errors: BaseException | type[BaseException], **options: Any) -> None:
        self.errors = list(errors)
        self.tries: list[TaskRun] = []
        self.times: list[float] = []
        self.task: Task[Any, Any] = task(name="flaky", **options)(self._make())

    def _make(self) -> Any:
        async def flaky() -> str:
            self.tries.append(task_run())
            self.times.append(asyncio.get_running_loop().time())
            if self.errors:
                raise self.errors.pop(0)
            return "done"

        return flaky


def calling(chosen: Task[Any, Any], *args: Any) -> Workflow[Any, Any]:
    """Return a workflow that calls the task, and returns its result or how it failed."""

    @workflow(name="calling", version="1")
    async def calls(run: WorkflowRun) -> list[Any]:
        try:
            result = await chosen.run(run, *args)
            return [list(result) if isinstance(result, tuple) else result]
        except TaskFailed as error:
            return [type(error).__name__, error.type, error.message, error.attempts]

    return calls


def finish(flow: Workflow[Any, Any], **options: Any) -> tuple[World, str]:
    async def main() -> tuple[World, str]:
        world = World(flow, **options)
        end = await world.finish()
        assert end.move is Move.COMPLETE, bytes(end.error)
        return world, bytes(end.output).decode()

    return simulate(main())


def finish_outside(flow: Workflow[Any, Any], pools: Pools) -> str:
    """The same in real time, for threads and processes."""
    end = end_outside(flow, pools)
    assert end.move is Move.COMPLETE, bytes(end.error)
    return bytes(end.output).decode()


def end_outside(flow: Workflow[Any, Any], pools: Pools) -> End:
    async def main() -> End:
        return await World(flow, pools=pools).finish()

    return asyncio.run(main())


# -- retries


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


# -- what user code may raise and return


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


# -- timeouts


def test_a_coroutine_that_takes_too_long_is_cancelled_and_retried() -> None:
    cancelled: list[int] = []

    @task(timeout="2s", retry=Retry.fixed(2, "1s"))
    async def sleeps() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cancelled.append(task_run().attempt)

    assert finish(calling(sleeps))[1] == '["TaskFailed","TaskTimeout","no result within 2 s",2]'
    assert cancelled == [1, 2]


def test_a_coroutine_that_will_not_be_cancelled_is_given_up() -> None:
    @task(timeout="1s", retry=Retry.none())
    async def stubborn() -> None:
        for _ in range(20):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3)

    world, output = finish(calling(stubborn))
    assert output == '["TaskFailed","TaskTimeout","no result within 1 s",1]'
    assert world.journal[0].at == EPOCH + 6 * SECOND


def test_a_thread_that_takes_too_long_is_abandoned(pools: Pools) -> None:
    release, ended = threading.Event(), threading.Event()

    @task(timeout="50ms", retry=Retry.none())
    def blocks() -> None:
        release.wait(10)
        ended.set()

    try:
        assert finish_outside(calling(blocks), pools) == '["TaskFailed","TaskTimeout","no result within 0.05 s",1]'
        assert not ended.is_set()
    finally:
        release.set()
    assert ended.wait(5)


def test_abandoned_threads_do_not_use_up_the_pool() -> None:
    threads, release, done = Threads(limit=1), threading.Event(), threading.Event()

    def blocks() -> None:
        release.wait(10)

    blocked = threads.submit(blocks)
    threads.submit(done.set)
    threads.abandon(blocked)
    assert done.wait(5)
    release.set()
    threads.close()


# -- threads and processes


def test_a_plain_function_runs_in_a_thread_and_knows_its_run(pools: Pools) -> None:
    @task
    def where(number: int) -> tuple[str, int, int]:
        return threading.current_thread().name, number, task_run().attempt

    output = finish_outside(calling(where, 7), pools)
    assert output.startswith('[["aiki-task-')
    assert output.endswith(",7,1]]")


def test_a_process_task_runs_in_a_process_that_is_used_again(pools: Pools) -> None:
    @workflow(name="processes", version="1")
    async def processes(run: WorkflowRun) -> list[tuple[int, int, str]]:
        return [await process_tasks.where.run(run, number) for number in range(2)]

    first, second = json.loads(finish_outside(processes, pools))
    assert first[0] == second[0] != os.getpid()
    assert (first[1], second[1]) == (0, 1)
    assert len(first[2]) == 32
    assert first[2] != second[2]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_task_is_killed_at_its_timeout(pools: Pools, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    # The timeout counts from the try's beginning, and the first process has to start: a try before warms it up.
    finish_outside(calling(process_tasks.where, 1), pools)
    output = finish_outside(calling(process_tasks.spin, str(path)), pools)
    assert output == '["TaskFailed","TaskTimeout","no result within 0.3 s",1]'
    pools.close()
    assert path.exists()
    deadline = time.monotonic() + patient(10)
    while is_alive(int(path.read_text())):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_process_that_dies_is_a_failed_attempt(pools: Pools) -> None:
    output = finish_outside(calling(process_tasks.die), pools)
    assert output == '["TaskFailed","ProcessDied","the task\'s process ended with exit code 3 in the middle of it",2]'


def test_a_process_that_died_between_two_tasks_costs_no_attempt(pools: Pools) -> None:
    def run_once() -> int:
        return int(json.loads(finish_outside(calling(process_tasks.where, 1), pools))[0][0])

    first = run_once()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert run_once() != first


def test_fatal_is_final_in_a_process_too(pools: Pools) -> None:
    assert finish_outside(calling(process_tasks.refuse), pools) == '["TaskFailed","Fatal","not even once more",1]'


def test_a_process_task_inside_a_function_is_refused(pools: Pools) -> None:
    @task(executor="process", retry=Retry.none())
    def local() -> None:
        return None

    assert "defined inside a function" in finish_outside(calling(local), pools)


# -- at most once


def test_the_start_of_an_at_most_once_task_is_durable_before_it_starts() -> None:
    flaky = Flaky(at_most_once=True)
    world, output = finish(calling(flaky.task))
    assert output == '["done"]'
    assert [(row.attempt, row.error) for row in world.units[0].attempts] == [(1, NULL)]


def test_an_at_most_once_task_whose_worker_died_in_it_is_not_started_again() -> None:
    starts: list[int] = []

    @task(at_most_once=True)
    async def pay() -> None:
        starts.append(1)
        await asyncio.sleep(100)

    kinds: list[type] = []

    @workflow(name="pays", version="1")
    async def pays(run: WorkflowRun) -> None:
        try:
            await pay.run(run)
        except TaskFailed as error:
            kinds.append(type(error))

    async def main() -> World:
        world = World(pays)
        world.claim()
        await asyncio.sleep(1)
        world.crash()
        await world.finish()
        return world

    world = simulate(main())
    assert starts == [1]
    assert kinds == [TaskOutcomeUnknown]
    assert world.state is State.COMPLETED


def test_an_at_most_once_task_that_failed_is_not_tried_again() -> None:
    flaky = Flaky(ValueError("v"), at_most_once=True)
    assert finish(calling(flaky.task))[1] == '["TaskFailed","ValueError","v",1]'


def test_an_announced_task_that_was_stopped_before_it_began_begins_at_the_next_claim() -> None:
    flaky = Flaky(at_most_once=True)

    async def main() -> World:
        world = World(calling(flaky.task), latency=(1.0,))
        world.claim()
        assert world.execution is not None
        world.execution.stop()
        await world.finish()
        return world

    world = simulate(main())
    assert world.ends == [Move.RELEASE, Move.COMPLETE]
    assert len(flaky.tries) == 1


def test_task_run_outside_of_a_task_is_refused() -> None:
    with pytest.raises(UsageError):
        task_run()
