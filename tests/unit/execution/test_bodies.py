"""What a body may not do, what is told about it, and how it leaves memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import date, datetime
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution.loop import LAST_DATE
from aiki.inside.workflow_run import WorkflowRun, current_body
from aiki.wire.messages import End
from tests.model.execution_host import World, simulate

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


@task
async def wait(name: str) -> str:
    await asyncio.sleep(1000)
    return name


@task
async def quick(name: str) -> str:
    return name


async def in_thread(fn: Callable[[], Any]) -> Any:
    loop: Any = asyncio.get_running_loop()
    loop.outside += 1
    try:
        return await asyncio.to_thread(fn)
    finally:
        loop.outside -= 1


def end_of(body: Body) -> End:
    @workflow(name="body", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> End:
        return await World(flow).finish()

    return simulate(main())


def failure_of(body: Body) -> str:
    end = end_of(body)
    assert end.move is Move.FAIL
    return bytes(end.error).decode()


# -- what is refused


async def connects(run: WorkflowRun) -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def uses_executor(run: WorkflowRun) -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.time)


async def uses_to_thread(run: WorkflowRun) -> None:
    await asyncio.to_thread(time.time)


async def starts_process(run: WorkflowRun) -> None:
    await asyncio.create_subprocess_exec("true")


async def adds_reader(run: WorkflowRun) -> None:
    asyncio.get_running_loop().add_reader(0, print)


@pytest.mark.parametrize("body", [connects, uses_executor, uses_to_thread, starts_process, adds_reader])
def test_io_and_executors_are_refused_with_the_line(body: Body) -> None:
    text = failure_of(body)
    assert '"type":"UsageError"' in text
    assert "cannot be used in a workflow body" in text
    assert f"in {body.__name__}" in text


def test_anyio_threads_are_refused_before_they_do_anything() -> None:
    async def body(run: WorkflowRun) -> None:
        await anyio.to_thread.run_sync(lambda: seen.append("ran"))

    assert "anyio.to_thread cannot be used" in failure_of(body)
    assert seen == []


def test_a_thread_cannot_call_into_a_body() -> None:
    def calls(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(print)
        except UsageError as error:
            seen.append(str(error))

    async def body(run: WorkflowRun) -> None:
        thread = threading.Thread(target=calls, args=(asyncio.get_running_loop(),))
        thread.start()
        thread.join()

    assert end_of(body).move is Move.COMPLETE
    assert "a thread cannot be used" in seen[0]


def test_a_future_of_another_loop_fails_the_run() -> None:
    async def main() -> End:
        foreign = asyncio.get_running_loop().create_future()

        @workflow(name="foreign", version="1")
        async def flow(run: WorkflowRun) -> None:
            await foreign

        return await World(flow).finish()

    end = simulate(main())
    assert end.move is Move.FAIL
    assert b"different loop" in bytes(end.error)


def test_a_task_called_directly_is_refused_with_the_hint() -> None:
    async def body(run: WorkflowRun) -> None:
        await quick("x")

    assert "called directly in a workflow" in failure_of(body)


@pytest.mark.parametrize(
    "call",
    [
        lambda run, task: task.run(1),
        lambda run, task: task.run("x"),
        lambda run, task: task.run(),
        lambda run, task: task.run(None, "x"),
        lambda run, task: task.run(run.run_id, "x"),
        lambda run, task: task.run(run=run, name="x"),
    ],
)
def test_a_task_that_is_not_given_the_run_first_is_refused_with_the_hint(call: Any) -> None:
    async def body(run: WorkflowRun) -> None:
        await call(run, quick)

    text = failure_of(body)
    assert '"type":"UsageError"' in text
    assert "where the workflow's run belongs" in text
    assert "await quick.run(run, ...)" in text


def test_a_task_that_is_not_given_the_run_is_refused_without_any_loop_of_a_run() -> None:
    with pytest.raises(UsageError, match="a value of type int where the workflow's run belongs"):
        asyncio.run(quick.run(1, "x"))  # type: ignore[arg-type]  # the mistake this test is about


def test_a_workflow_that_is_called_is_refused_with_the_hint() -> None:
    @workflow(name="inner", version="1")
    async def inner(run: WorkflowRun, number: int) -> None: ...

    async def body(run: WorkflowRun) -> None:
        await inner(run, 1)  # type: ignore[operator]  # the mistake this test is about

    text = failure_of(body)
    assert "workflow 'inner' was called like a function" in text
    assert "await inner.enqueue(client, ...)" in text


@pytest.mark.parametrize(
    "call",
    [
        lambda run: quick.run(run, "x"),
        lambda run: run.sleep("1s"),
        lambda run: run.sleep_until(run.now()),
        lambda run: in_thread(lambda: asyncio.run(quick.run(run, "x"))),
        lambda run: in_thread(run.random),
        lambda run: in_thread(run.uuid),
        lambda run: in_thread(lambda: run.patched("x")),
    ],
)
def test_a_durable_call_outside_of_the_body_is_refused_while_the_run_lives_and_after(call: Any) -> None:
    runs: list[WorkflowRun] = []

    @task
    async def calls() -> bool:
        with pytest.raises(UsageError, match="was called outside of the body of its workflow"):
            await call(runs[0])
        return True

    async def body(run: WorkflowRun) -> None:
        runs.append(run)
        assert await calls.run(run)

    async def main() -> End:
        @workflow(name="leaks", version="1")
        async def leaks(run: WorkflowRun) -> None:
            await body(run)

        end = await World(leaks).finish()
        with pytest.raises(UsageError, match="was called outside of the body of its workflow"):
            await call(runs[0])
        return end

    assert simulate(main()).move is Move.COMPLETE


def test_a_durable_call_in_the_body_of_another_run_is_refused() -> None:
    runs: list[WorkflowRun] = []

    async def body(run: WorkflowRun) -> None:
        runs.append(run)
        await quick.run(runs[0], "x")

    async def main() -> list[End]:
        @workflow(name="borrows", version="1")
        async def borrows(run: WorkflowRun) -> None:
            await body(run)

        return [await World(borrows).finish(), await World(borrows).finish()]

    first, second = simulate(main())
    assert first.move is Move.COMPLETE
    assert b"quick.run() was called outside of the body" in bytes(second.error)


def test_current_body_is_the_run_in_a_body_and_nothing_in_a_task() -> None:
    @task
    async def looks() -> bool:
        return current_body() is None

    async def body(run: WorkflowRun) -> None:
        assert current_body() is run
        assert await looks.run(run)

    assert current_body() is None
    assert end_of(body).move is Move.COMPLETE


# -- how a body fails


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_what_would_end_the_worker_fails_the_run(error: BaseException) -> None:
    async def body(run: WorkflowRun) -> None:
        raise error

    assert f'"type":"{type(error).__name__}"' in failure_of(body)


def test_sys_exit_in_a_branch_fails_the_run() -> None:
    async def leaves() -> None:
        sys.exit(3)

    async def body(run: WorkflowRun) -> None:
        await asyncio.gather(leaves(), wait.run(run, "x"))

    assert '"type":"SystemExit","message":"3"' in failure_of(body)


def test_a_result_that_does_not_fit_fails_the_run() -> None:
    @workflow(name="lies", version="1")
    async def lies(run: WorkflowRun) -> int:
        return "text"  # type: ignore[return-value]  # the mistake this test is about

    async def main() -> End:
        return await World(lies).finish()

    assert b'"type":"PayloadError"' in bytes(simulate(main()).error)


def test_a_deadlock_fails_the_run_and_names_where_it_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def body(run: WorkflowRun) -> None:
        await quick.run(run, "x")
        await waits_for_ever()

    text = failure_of(body)
    assert "can never come" in text
    assert "test_bodies.py" in text
    assert "in waits_for_ever" in text


@pytest.mark.parametrize("waits", [anyio.sleep_forever, lambda: asyncio.sleep(math.inf), lambda: asyncio.sleep(1e300)])
def test_a_body_that_sleeps_for_ever_is_no_deadlock_and_leaves_memory_until_the_last_date(waits: Any) -> None:
    @workflow(name="forever", version="1")
    async def forever(run: WorkflowRun) -> None:
        await waits()

    async def main() -> World:
        world = World(forever)
        world.claim()
        await world.settle()
        return world

    world = simulate(main())
    assert world.state is State.SLEEPING
    assert world.end is not None
    assert world.end.due_at == LAST_DATE


@pytest.mark.parametrize("when", [None, "tomorrow", 5.0, math.inf, date(2030, 1, 1), datetime(2030, 1, 1)])  # noqa: DTZ001 - the mistake
def test_a_date_without_a_time_zone_or_that_is_none_is_refused(when: Any) -> None:
    async def body(run: WorkflowRun) -> None:
        await run.sleep_until(when)

    text = failure_of(body)
    assert "sleep_until() needs a datetime with a time zone" in text
    assert "run.now() + timedelta" in text


def test_a_timer_of_no_number_is_refused() -> None:
    async def body(run: WorkflowRun) -> None:
        asyncio.get_running_loop().call_later(math.nan, print)

    assert "a timer of nan seconds" in failure_of(body)


def test_a_wait_for_nothing_is_no_deadlock_while_a_task_is_awaited() -> None:
    async def body(run: WorkflowRun) -> None:
        event = asyncio.Event()

        async def sets() -> None:
            await wait.run(run, "x")
            event.set()

        await asyncio.gather(sets(), event.wait())

    assert end_of(body).move is Move.COMPLETE


def test_a_body_that_spins_still_gets_its_outcomes() -> None:
    async def body(run: WorkflowRun) -> None:
        done: list[str] = []

        async def works() -> None:
            await asyncio.sleep(0.5)
            done.append(await quick.run(run, "x"))

        behind = asyncio.create_task(works())
        while not done:  # noqa: ASYNC110 - it is what this test is about
            await asyncio.sleep(0)
        await behind

    assert end_of(body).move is Move.COMPLETE


def test_a_body_that_blocks_is_logged_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async def body(run: WorkflowRun) -> None:
        until = time.perf_counter() + 10
        while time.perf_counter() < until and not records:
            pass

    records = caplog.records
    with caplog.at_level(logging.WARNING, "aiki.execution"):
        end_of(body)
    assert "has blocked the worker for" in caplog.records[0].message
    assert "test_bodies.py" in caplog.records[0].message
    assert "in body" in caplog.records[0].message


def test_an_exception_that_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("unseen")

    async def body(run: WorkflowRun) -> None:
        forgotten = asyncio.create_task(fails())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del forgotten
        await run.sleep("1s")

    with caplog.at_level(logging.WARNING, "aiki.execution"):
        end_of(body)
    assert "nobody awaited it" in caplog.records[0].message


# -- leaving memory


def left(body: Body) -> list[str]:
    """Start the body, and take it out of memory where it waits."""

    @workflow(name="leaves", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> None:
        world = World(flow)
        world.claim()
        await asyncio.sleep(1)
        assert world.execution is not None
        written = len(world.units)
        world.execution.drop()
        assert len(world.units) == written

    simulate(main())
    return seen


def test_finally_runs_and_durable_calls_in_it_do_nothing() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await wait.run(run, "x")
        except Exception:  # noqa: BLE001 - it must not see the end of memory
            seen.append("except")
        finally:
            seen.append("finally")
            await quick.run(run, "refund")
            seen.append("after")

    assert left(body) == ["finally"]


def test_branches_end_newest_first_and_see_no_cancellation() -> None:
    async def branch(run: WorkflowRun, name: str) -> None:
        try:
            await wait.run(run, name)
        except asyncio.CancelledError:
            seen.append(f"cancelled {name}")
            raise
        finally:
            seen.append(name)

    async def body(run: WorkflowRun) -> None:
        async with asyncio.timeout(5000), asyncio.TaskGroup() as group:
            group.create_task(branch(run, "1"))
            group.create_task(branch(run, "2"))

    assert left(body) == ["2", "1"]


def test_anyio_groups_and_context_managers_are_unwound() -> None:
    @contextlib.asynccontextmanager
    async def manager(run: WorkflowRun) -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append("manager")

    async def branch(run: WorkflowRun) -> None:
        try:
            await wait.run(run, "n")
        finally:
            seen.append("branch")

    async def body(run: WorkflowRun) -> None:
        async with manager(run), anyio.create_task_group() as group:
            group.start_soon(branch, run)

    assert sorted(left(body)) == ["branch", "manager"]


def test_a_body_that_swallows_its_end_once_is_unwound_at_its_next_call() -> None:
    async def body(run: WorkflowRun) -> None:
        with contextlib.suppress(BaseException):
            await wait.run(run, "x")
        seen.append("went on")
        await quick.run(run, "next")
        seen.append("never")

    assert left(body) == ["went on"]


def test_a_body_that_cannot_be_unwound_is_logged_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    stubborn = [True]

    async def body(run: WorkflowRun) -> None:
        while stubborn:
            with contextlib.suppress(BaseException):
                await wait.run(run, "x")

    with caplog.at_level(logging.ERROR, "aiki.execution"):
        left(body)
    assert "cannot be unwound" in caplog.records[0].message
    assert "in body" in caplog.records[0].message
    stubborn.clear()  # the coroutine that was kept ends with the interpreter
