"""Following runs in full: what is told, when, and that nothing is missing in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
import pytest

from aiki import Client, NotFound, Retry, State, Worker, WorkflowRun, task, task_run, workflow
from aiki.definitions.view import CallState, RunView
from tests.waiting import patient

pytestmark = pytest.mark.anyio

gates: dict[str, asyncio.Event] = {}


@task(retry=Retry.fixed(max_attempts=3, delay="2s"))
async def step(n: int) -> int:
    if n == 13 and task_run().attempt == 1:
        raise TimeoutError("no\nanswer")
    if n >= 100:
        task_run().progress(0.5, "half way")
        await gates["step"].wait()
    return n


@workflow
async def steps(run: WorkflowRun, numbers: list[int]) -> int:
    run.set_details({"numbers": len(numbers)})
    return sum([await step.run(run, n) for n in numbers])


async def until(views: AsyncGenerator[RunView, None], holds: Callable[[RunView], bool]) -> RunView:
    """Return the first view for which it holds."""
    with anyio.fail_after(patient(20)):
        async for view in views:
            if holds(view):
                return view
    raise AssertionError("the run has ended before")


def call(view: RunView, state: CallState) -> list[str]:
    return [one.name for one in view.calls if one.state is state]


async def test_a_run_is_followed_to_its_end(client: Client) -> None:
    gates["step"] = asyncio.Event()
    async with Worker(client, workflows=[steps]):
        handle = await steps.enqueue(client, [1, 2, 100, 3])
        async with aclosing(handle.follow()) as views:
            view = await until(views, lambda view: any(one.state is CallState.RUNNING for one in view.calls))
            assert [(one.name, one.state) for one in view.calls] == [
                ("step", CallState.DONE),
                ("step", CallState.DONE),
                ("step", CallState.RUNNING),
            ]
            assert view.done == 2
            view = await until(views, lambda view: view.calls[-1].fraction == 0.5)
            assert view.calls[-1].message == "half way"
            view = await until(views, lambda view: bool(view.status.progress))
            assert [(one.task, one.fraction, one.message) for one in view.status.progress] == [
                ("step", 0.5, "half way")
            ]
            assert view.status.details == {"numbers": 4}
            assert view.status.why is not None
            assert "step" in view.status.why
            gates["step"].set()
            last = await until(views, lambda view: view.status.ended)
    assert last.status.state is State.COMPLETED
    assert last.status.result == 106
    assert (last.done, last.failed, last.journal_seq) == (4, 0, 4)
    assert [one.state for one in last.calls] == [CallState.DONE] * 4
    assert all(one.started_at is not None and one.ended_at is not None for one in last.calls)


@workflow
async def fan_out(run: WorkflowRun, count: int) -> int:
    return sum(await asyncio.gather(*(step.run(run, 100 + n) for n in range(count))))


async def test_all_tasks_of_a_fan_out_are_shown(client: Client) -> None:
    gates["step"] = asyncio.Event()
    async with Worker(client, workflows=[fan_out]):
        handle = await fan_out.enqueue(client, 60)
        async with aclosing(handle.follow()) as views:
            await until(views, lambda view: len(call(view, CallState.RUNNING)) == 60)
            gates["step"].set()
            last = await until(views, lambda view: view.status.ended)
    assert (last.done, len(call(last, CallState.DONE))) == (60, 60)


async def test_a_try_that_failed_is_shown_with_its_date_and_runs_again(client: Client) -> None:
    async with Worker(client, workflows=[steps]):
        handle = await steps.enqueue(client, [13])
        async with aclosing(handle.follow()) as views:
            # The run and its calls are read one after the other: what one lacks the next view has.
            view = await until(views, lambda view: bool(call(view, CallState.RETRYING)) and bool(view.status.due_at))
            (tried,) = view.calls
            assert (tried.attempt, tried.error) == (1, "TimeoutError: no answer")
            assert tried.next_at is not None
            assert view.status.due_at == tried.next_at
            last = await until(views, lambda view: view.status.ended)
    assert [(one.attempt, one.state) for one in last.calls] == [(2, CallState.DONE)]


async def test_a_run_that_does_not_exist_is_not_followed(client: Client) -> None:
    with pytest.raises(NotFound):
        await anext(client.handle("01890000-0000-7000-8000-000000000000").follow())


async def test_the_namespace_is_followed(client: Client) -> None:
    async with aclosing(client.runs.summaries()) as summaries:
        with anyio.fail_after(patient(20)):
            assert (await anext(summaries)).workers == 0
            handle = await steps.enqueue(client, [1])
            async for summary in summaries:
                if any(count.state is State.QUEUED for count in summary.counts):
                    break
            async with Worker(client, workflows=[steps]):
                assert await handle.result() == 1
            async for summary in summaries:
                if [(count.state, count.runs) for count in summary.counts] == [(State.COMPLETED, 1)]:
                    break
