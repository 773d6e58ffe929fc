"""The workflows that are measured: durable steps that do nothing and return their payload."""

import asyncio
import time

from aiki import Retry, WorkflowRun, task, task_run, workflow


@task
async def step(payload: dict[str, str]) -> dict[str, str]:
    return payload


@workflow(name="steps", version="1")
async def steps(run: WorkflowRun, payload: dict[str, str], k: int) -> dict[str, str]:
    for _ in range(k):
        payload = await step.run(run, payload)
    return payload


@workflow(name="fan-out", version="1")
async def fan_out(run: WorkflowRun, payload: dict[str, str], f: int) -> int:
    return len(await asyncio.gather(*(step.run(run, payload) for _ in range(f))))


@workflow(name="family", version="1")
async def family(run: WorkflowRun, payload: dict[str, str], f: int) -> int:
    return len(await run.all([await steps.start(run, payload, 1) for _ in range(f)]))


@workflow(name="sleeper", version="1")
async def sleeper(run: WorkflowRun, seconds: float) -> None:
    await run.sleep(f"{seconds}s")


@task
async def hold(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow(name="holder", version="1")
async def holder(run: WorkflowRun, seconds: float) -> None:
    await hold.run(run, seconds)


@workflow(name="nobody", version="1")
async def nobody(run: WorkflowRun, payload: dict[str, str]) -> None:
    """Enqueued only: no bench worker serves it."""


@task(retry=Retry.fixed(max_attempts=3, delay="100ms"))
async def shaky(payload: dict[str, str], failures: int) -> float:
    """Return when it began, after as many tries as are to fail."""
    began = time.time()
    if task_run().attempt <= failures:
        raise ConnectionError("as it was told")
    return began


@workflow(name="mixed", version="1")
async def mixed(run: WorkflowRun, payload: dict[str, str], failures: int, sleep_ms: int) -> float:
    """Return when its first task began, by the clock that all processes of a machine share."""
    began = await shaky.run(run, payload, 0)
    if sleep_ms:
        await run.sleep(f"{sleep_ms}ms")
    await shaky.run(run, payload, failures)
    await step.run(run, payload)
    return began
