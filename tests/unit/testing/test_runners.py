"""The environment under what runs tests: asyncio itself, unittest, uvloop, fixtures."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import AsyncIterator

import pytest
import uvloop

from aiki import WorkflowRun, task, workflow
from aiki.testing import TestEnv


@task
async def double(number: int) -> int:
    return 2 * number


@task
def halve(number: int) -> int:
    return number // 2


@workflow
async def both(run: WorkflowRun, number: int) -> list[int]:
    first = asyncio.create_task(double.run(run, number))
    await run.sleep("1h")
    return [await first, await halve.run(run, number)]


async def play() -> None:
    async with TestEnv(strict=True) as env:
        handle = await env.enqueue(both, 6)
        await env.advance("1h")
        assert await handle.result() == [12, 3]


class UnderUnittest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.env = await self.enterAsyncContext(TestEnv(strict=True))

    async def test_a_run(self) -> None:
        handle = await self.env.enqueue(both, 6)
        await self.env.advance("1h")
        assert await handle.result() == [12, 3]


@pytest.fixture
async def env() -> AsyncIterator[TestEnv]:
    async with TestEnv(strict=True) as made:
        yield made


@pytest.mark.anyio
async def test_a_fixture_makes_an_environment_for_each_test(env: TestEnv) -> None:
    handle = await env.enqueue(both, 6)
    await env.advance("1h")
    assert await handle.result() == [12, 3]


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("debug", [False, True])
def test_any_loop_of_asyncio_will_do(make_loop, debug: bool) -> None:
    with asyncio.Runner(loop_factory=make_loop, debug=debug) as runner:
        runner.run(play())


def test_one_hundred_small_tests_in_one_process_share_nothing() -> None:
    for _ in range(100):
        asyncio.run(play())
