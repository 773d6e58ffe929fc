"""What a body may not do, and where durable calls may not be made."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun, current_body
from aiki.wire.messages import End
from tests.unit.execution.bodies import Body, end_of, failure_of, in_thread, quick, seen
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


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
