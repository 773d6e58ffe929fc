"""Bodies in the shapes that people write with asyncio and anyio, each with what it returns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import anyio

from aiki.core.errors import TaskFailed
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.pattern import Patterns, breaks, nap
from tests.unit.execution.pattern import returns as returns_of

PATTERNS: Final[Patterns] = []
returns = partial(returns_of, PATTERNS)


# -- what branches wait for


@returns(["a", "b", "end"])
async def hands_on_by_memory_streams(run: WorkflowRun) -> list[str]:
    out = []
    send, receive = anyio.create_memory_object_stream[str](1)

    async def produces() -> None:
        async with send:
            for name in ("a", "b"):
                await send.send(await nap.run(run, name, 1))

    async with anyio.create_task_group() as group:
        group.start_soon(produces)
        async with receive:
            async for name in receive:
                out.append(name)
                await run.sleep("2s")
    return [*out, "end"]


@returns([2, "0", "1", "2", "3", "4"])
async def limits_by_each_of_anyios_means(run: WorkflowRun) -> list[Any]:
    limiter, semaphore, lock = anyio.CapacityLimiter(2), anyio.Semaphore(3), anyio.Lock()
    condition, ready = anyio.Condition(), anyio.Event()
    most, now, out = 0, 0, []

    async def one(number: int) -> None:
        nonlocal most, now
        await ready.wait()
        async with semaphore, limiter:
            now += 1
            most = max(most, now)
            name = await nap.run(run, str(number), 1)
            now -= 1
        async with lock:
            out.append(name)
        async with condition:
            condition.notify_all()

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one, number)
        await run.sleep("1s")
        ready.set()
        async with condition:
            while len(out) < 5:
                await condition.wait()
    return [most, *out]


@returns(["a", "b", "c", [0, 1, 2]])
async def waits_by_each_of_asyncios_means(run: WorkflowRun) -> list[Any]:
    queue: asyncio.Queue[str] = asyncio.Queue(1)
    barrier, condition, out = asyncio.Barrier(3), asyncio.Condition(), []

    async def one(name: str, seconds: float) -> int:
        await queue.put(await nap.run(run, name, seconds))
        place = await barrier.wait()
        async with condition:
            condition.notify_all()
        return place

    branches = [asyncio.create_task(one(name, seconds)) for name, seconds in (("a", 1), ("b", 2), ("c", 3))]
    for _ in branches:
        out.append(await queue.get())
        await run.sleep("5s")
    async with condition:
        await condition.wait_for(lambda: barrier.n_waiting == 0)
    return [*out, sorted(await asyncio.gather(*branches))]


# -- cancellation of asyncio's own


@returns(["cleanup", "timeout"])
async def cleans_up_in_a_finally_of_its_own(run: WorkflowRun) -> list[str]:
    out = []
    try:
        async with asyncio.timeout(0.2):
            try:
                await nap.run(run, "slow", 30)
            finally:
                await run.sleep("10s")
                out.append(await nap.run(run, "cleanup", 1))
    except TimeoutError:
        out.append("timeout")
    return out


@returns(["late", "kept"])
async def shields_what_it_waits_for(run: WorkflowRun) -> list[str]:
    inner = asyncio.ensure_future(nap.run(run, "kept", 5))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        return ["late", await inner]
    return []


@returns(["timeout", "at", "expired True"])
async def bounds_by_each_of_asyncios_means(run: WorkflowRun) -> list[str]:
    out = []
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        await asyncio.wait_for(run.sleep("30s"), 1.1)
        out.append("not")
    out.append("timeout")
    try:
        async with asyncio.timeout_at(loop.time() + 0.7):
            await nap.run(run, "slow", 30)
    except TimeoutError:
        out.append("at")
    scope = asyncio.timeout(math.inf)
    with suppress(TimeoutError):
        async with scope:
            scope.reschedule(loop.time() + 2.3)
            await run.sleep("30s")
    return [*out, f"expired {scope.expired()}"]


@returns(["instead", "after", 0])
async def swallows_its_cancellation(run: WorkflowRun) -> list[Any]:
    async def stubborn() -> str:
        try:
            return await nap.run(run, "slow", 30)
        except asyncio.CancelledError:
            return await nap.run(run, "instead", 1)

    branch = asyncio.create_task(stubborn())
    await run.sleep("1s")
    branch.cancel()
    out: list[Any] = [await branch]
    this = asyncio.current_task()
    assert this is not None
    this.cancel()
    try:
        await nap.run(run, "never", 1)
    except asyncio.CancelledError:
        this.uncancel()
    return [*out, await nap.run(run, "after", 1), this.cancelling()]


@returns(["CancelledError", "CancelledError", "done"])
async def catches_everything_there_is(run: WorkflowRun) -> list[str]:
    out = []

    async def stubborn() -> str:
        for _ in range(2):
            try:
                await run.sleep("30s")
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the mistake of this pattern
                out.append(type(error).__name__)
        return await nap.run(run, "done", 1)

    branch = asyncio.create_task(stubborn())
    for _ in range(2):
        await run.sleep("1s")
        branch.cancel()
    done = await branch
    return [*out, done]


# -- generators and stacks


@returns(["0", "1", "closed"])
async def closes_a_generator_half_way(run: WorkflowRun) -> list[str]:
    out: list[str] = []

    async def numbers() -> AsyncGenerator[str]:
        try:
            for number in range(4):
                yield await nap.run(run, str(number), 1)
        finally:
            out.append(await nap.run(run, "closed", 1))

    async with aclosing(numbers()) as them:
        async for number in them:
            out.append(number)
            await run.sleep("2s")
            if number == "1":
                break
    return out


@returns(["a", "b", "leaves b", "leaves a", "ValueError"])
async def leaves_a_stack_by_an_error(run: WorkflowRun) -> list[str]:
    out: list[str] = []

    @asynccontextmanager
    async def held(name: str) -> AsyncIterator[None]:
        out.append(await nap.run(run, name, 1))
        try:
            yield
        finally:
            await run.sleep("3s")
            out.append(await nap.run(run, f"leaves {name}", 1))

    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(held("a"))
            await stack.enter_async_context(held("b"))
            await breaks.run(run, "x")
    except TaskFailed as error:
        out.append(error.type)
    return out


# -- the loop itself


@returns(["soon", "threadsafe", "later", "at"])
async def asks_its_loop_to_call_back(run: WorkflowRun) -> list[str]:
    out: list[str] = []
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_at(loop.time() + 3.3, done.set_result, "at")
    loop.call_later(2.2, out.append, "later")
    loop.call_soon(out.append, "soon")
    loop.call_soon_threadsafe(out.append, "threadsafe")
    at = await done
    return [*out, at]


@returns(["a", "forever"])
async def has_a_branch_that_sleeps_for_ever(run: WorkflowRun) -> list[str]:
    for_ever = [
        asyncio.create_task(sleeps)
        for sleeps in (asyncio.sleep(math.inf), anyio.sleep_forever(), asyncio.sleep(10**12), asyncio.sleep(1e300))
    ]
    out = [await nap.run(run, "a", 1)]
    await run.sleep("20s")
    assert not any(branch.done() for branch in for_ever)
    return [*out, "forever"]


@returns("RecursionError")
async def recurses_without_end(run: WorkflowRun) -> str:
    async def again(depth: int) -> int:
        return 1 + await again(depth + 1)

    await run.sleep("2s")
    try:
        return str(await again(0))
    except RecursionError as error:
        return type(error).__name__
