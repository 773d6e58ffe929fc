"""What a strict test forgot is told at the end of its block, a line each; a test that fails by itself is not told."""

from __future__ import annotations

import asyncio

import pytest

from aiki import Event, RunFailed, UsageError, WorkflowRun, task, workflow
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio
approved = Event("approved", type=str)


@task
async def step() -> int:
    return 1


@workflow
async def waits(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


@workflow
async def fails(run: WorkflowRun) -> None:
    raise ValueError("no such order")


@workflow
async def forgets(run: WorkflowRun) -> None:
    step.run(run)  # type: ignore[unused-coroutine]


@workflow
async def ignores(run: WorkflowRun) -> None:
    async def broken() -> None:
        raise OSError("nobody sees this")

    branch = asyncio.create_task(broken())
    await step.run(run)
    assert branch.done()


@workflow
async def parent(run: WorkflowRun) -> None:
    await waits.run(run)


async def lines_of(play) -> list[str]:
    with pytest.raises(UsageError, match="the test ended, and left") as caught:
        async with TestEnv(strict=True) as env:
            await play(env)
    return caught.value.message.splitlines()[1:]


async def test_a_run_that_has_not_ended_is_told_once_with_its_family() -> None:
    async def play(env: TestEnv) -> None:
        await env.enqueue(parent)

    (line,) = await lines_of(play)
    assert "of workflow 'parent' has not ended: it waits for child " in line
    assert line.endswith(", which waits for event 'approved'")


async def test_an_event_that_nobody_took_is_told() -> None:
    async def play(env: TestEnv) -> None:
        handle = await env.enqueue(waits)
        await handle.send(approved, "alice")
        assert await handle.result() == "alice"
        late = await env.enqueue(forgets_events)
        await late.send(approved, "alice")
        await late.send(approved, "bob")
        await env.advance("1m")
        await late.result()

    (line,) = await lines_of(play)
    assert line.endswith("of workflow 'forgets_events' has not taken event 'approved', 2 of them")


@workflow
async def forgets_events(run: WorkflowRun) -> None:
    await run.sleep("1m")


async def test_a_failure_that_nobody_has_seen_is_told() -> None:
    async def play(env: TestEnv) -> None:
        await env.enqueue(fails)
        seen = await env.enqueue(fails)
        with pytest.raises(RunFailed):
            await seen.result()

    (line,) = await lines_of(play)
    assert line.endswith("failed, and nobody has asked how it ended: ValueError: no such order")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_a_forgotten_await_is_told_with_its_line() -> None:
    async def play(env: TestEnv) -> None:
        await (await env.enqueue(forgets)).result()

    (line,) = await lines_of(play)
    assert "write `await step.run(run, ...)` at" in line
    assert "test_strict.py" in line


async def test_a_branch_whose_failure_nobody_sees_is_told() -> None:
    async def play(env: TestEnv) -> None:
        await (await env.enqueue(ignores)).result()

    (line,) = await lines_of(play)
    assert "OSError: nobody sees this" in line


async def test_a_mock_that_was_not_called_as_often_as_it_was_told_is_told() -> None:
    async def play(env: TestEnv) -> None:
        env.mock(step).returns(1)

    assert await lines_of(play) == ["- <mock of task step> was never called"]


async def test_what_the_test_itself_raises_comes_alone() -> None:
    async def play() -> None:
        async with TestEnv(strict=True) as env:
            await env.enqueue(waits)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await play()


async def test_a_test_that_left_nothing_is_told_nothing() -> None:
    async with TestEnv(strict=True) as env:
        env.mock(step).returns(1, 2)
        handle = await env.enqueue(ignoring_nothing)
        assert await handle.result() == 4


@workflow
async def ignoring_nothing(run: WorkflowRun) -> int:
    return await step.run(run) + await step.run(run) + await step.run(run) - 1
