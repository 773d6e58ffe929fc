"""Workflows that go wrong in each way there is."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from aiki import Client, Json, Retry, WorkflowRun, task, workflow

ONCE = Retry.none()


@dataclass
class Order:
    id: str
    cents: int


@task(retry=ONCE)
async def echo(value: Json) -> Json:
    return value


@workflow(name="echo")
async def echoes(run: WorkflowRun, value: Json) -> Json:
    return await echo.run(run, value)


@workflow(name="order")
async def order(run: WorkflowRun, order: Order) -> int:
    return order.cents


@task(retry=ONCE)
async def misbehave(kind: str) -> Json:
    match kind:
        case "object":
            return object()  # type: ignore[return-value]  # the mistake
        case "nan":
            return float("nan")
        case "large":
            return "x" * 300_000
        case "surrogate":
            return "a\ud800b"
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "recursion":
            return await misbehave.fn(kind)
        case _:
            raise ValueError("a\ud800b\0c")


@task(retry=ONCE)
async def text_for_int() -> int:
    return "x"  # type: ignore[return-value]  # the mistake


@workflow(name="bad-task")
async def bad_task(run: WorkflowRun, kind: str) -> Json:
    return await text_for_int.run(run) if kind == "text for int" else await misbehave.run(run, kind)


@workflow(name="bad-result")
async def bad_result(run: WorkflowRun, kind: str) -> int:
    return {"text": "x", "nan": float("nan"), "none": None}[kind]  # type: ignore[return-value]  # the mistake


async def bad_task_of_a_branch(run: WorkflowRun) -> None:
    await misbehave.run(run, "object")


@workflow(name="body")
async def body(run: WorkflowRun, kind: str) -> Json:  # noqa: C901 - a list of mistakes
    match kind:
        case "connection":
            await asyncio.open_connection("127.0.0.1", 1)
        case "subprocess":
            await asyncio.create_subprocess_exec("true")
        case "executor":
            await asyncio.get_running_loop().run_in_executor(None, time.time)
        case "thread of anyio":
            await anyio.to_thread.run_sync(time.time)
        case "connection in a group":
            await anyio.connect_tcp("127.0.0.1", 1)
        case "client":
            async with Client.connect():
                pass
        case "deadlock":
            await asyncio.Event().wait()
        case "exit":
            sys.exit(4)
        case "interrupt":
            raise KeyboardInterrupt
        case "block":
            time.sleep(0.4)  # noqa: ASYNC251 - the mistake
        case "spin":
            while not Path("stop-spinning").exists():  # noqa: ASYNC110, ASYNC240 - the mistake
                await asyncio.sleep(0)
        case "swallow":
            while True:
                try:  # noqa: SIM105 - the mistake
                    await run.sleep("1h")
                except BaseException:  # noqa: BLE001 - the mistake
                    pass
        case "forgotten":
            echo.run(run, 1)  # type: ignore[unused-coroutine]  # the mistake
            asyncio.create_task(bad_task_of_a_branch(run))  # noqa: RUF006 - the mistake
            await run.sleep("100ms")
        case "plain call":
            return await echo(1)
    return "went through"
