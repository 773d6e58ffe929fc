"""Following runs, and the namespace, in a TestEnv: the clock goes on all the same."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from aiki import Event, Fatal, NotFound, RunFailed, State, TaskFailed, WorkflowRun, task, workflow
from aiki.definitions.view import CallState, RunView
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)


@task
async def double(n: int) -> int:
    if n == 13:
        raise Fatal("no such luck")
    return 2 * n


@workflow
async def child(run: WorkflowRun, n: int) -> int:
    await run.sleep("10m")
    return n


@workflow(events=[approved])
async def orders(run: WorkflowRun, n: int) -> int:
    total = await double.run(run, n)
    try:
        await double.run(run, 13)
    except TaskFailed:
        total += 1
    await run.wait_for(approved)
    total += sum(await asyncio.gather(*(child.run(run, one) for one in range(2))))
    return total


@workflow
async def fails(run: WorkflowRun, n: int) -> int:
    return await double.run(run, n)


async def followed(env: TestEnv, run_id: str) -> list[RunView]:
    async with aclosing(env.client.handle(run_id).follow()) as views:
        return [view async for view in views]


async def test_a_run_is_followed_while_the_clock_goes_on() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(orders, 4)
        following = asyncio.create_task(followed(env, handle.run_id))
        first = await anext(handle.follow())
        assert [(one.kind, one.name, one.state, one.error) for one in first.calls] == [
            ("task", "double", CallState.DONE, None),
            ("task", "double", CallState.FAILED, "Fatal: no such luck"),
            ("event", "approved", CallState.WAITING, None),
        ]
        assert (first.done, first.failed, first.journal_seq) == (2, 1, 2)
        assert first.status.why is not None
        assert "approved" in first.status.why
        await handle.send(approved, "alice")
        await env.advance("1m")
        second = await anext(handle.follow())
        assert sum(second.children.values()) == 2
        waiting = [one for one in second.calls if one.state is CallState.WAITING]
        assert {(one.kind, one.name) for one in waiting} == {("child", "child")}
        assert len({one.run_id for one in waiting}) == 2
        await env.advance("20m")
        views = await following
    assert views[-1].status.state is State.COMPLETED
    assert views[-1].children == {State.COMPLETED: 2}
    ends = [one for one in views[-1].calls if one.kind == "child"]
    assert {one.run_id for one in ends} == {one.run_id for one in waiting}
    assert [one.state for one in ends] == [CallState.DONE] * 2


async def test_runs_are_followed_together_until_none_moves_by_itself() -> None:
    async with TestEnv() as env:
        first, second = await env.enqueue(child, 1), await env.enqueue(child, 2)

        async def follow() -> dict[str, State]:
            return {
                view.status.run_id: view.status.state
                async for view in env.client.runs.follow([first.run_id, second.run_id])
            }

        following = asyncio.create_task(follow())
        await env.advance("1m")
        await second.pause()
        await env.advance("10m")
        assert await following == {first.run_id: State.COMPLETED, second.run_id: State.PAUSED}


async def test_the_namespace_is_followed() -> None:
    async with TestEnv() as env, aclosing(env.client.runs.summaries()) as summaries:
        assert (await anext(summaries)).counts == []
        handle = await env.enqueue(child, 1)
        await env.advance("20m")
        assert await handle.result() == 1
        async for summary in summaries:
            if {count.state for count in summary.counts} == {State.COMPLETED}:
                break


async def test_the_retry_of_a_run_is_followed_in_its_place() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(fails, 13)
        with pytest.raises(RunFailed):
            await handle.result()
        retry = await handle.retry()
        views = await followed(env, handle.run_id)
    assert {view.status.run_id for view in views} == {retry.run_id}
    assert (views[-1].status.retry_of, views[-1].status.state) == (handle.run_id, State.FAILED)


async def test_nothing_is_followed_of_a_run_that_is_deleted() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(child, 1)
        await env.advance("20m")
        await env.client.runs.delete([handle.run_id])
        with pytest.raises(NotFound):
            await followed(env, handle.run_id)
