"""Own the workflows that take events for as long as they are spoken to: each value goes to the ledger, with its place.

A run that took an event twice, or another one than it had gone on with, would do two tasks where there should be one.
"""

from __future__ import annotations

import asyncio

from aiki import Event, EventTimeout, WorkflowRun, task, workflow
from tests.chaos.heard import DO, TASK, UNDO
from tests.chaos.ledger import witnessed

said, over = Event("said", type=str), Event("over")


@task(name=TASK)
async def hear(value: str) -> None:
    with witnessed():
        pass


@task(name=DO)
async def do() -> None:
    with witnessed():
        pass


@task(name=UNDO)
async def undo() -> None:
    with witnessed():
        pass


async def next_value(run: WorkflowRun, place: int) -> str | None:
    """Take the next event, and do its task; return None when it was the last one."""
    while True:
        try:
            message = await run.wait_any(said, over, timeout="200ms" if place % 3 else None)
        except EventTimeout:
            continue
        if said.matches(message):
            await hear.options(idempotency_key=f"{place}:{message.value}").run(run, message.value)
            return message.value
        return None


@workflow(events=[said, over])
async def hearing(run: WorkflowRun) -> int:
    """Return how many events there were."""
    place = 0
    while await next_value(run, place) is not None:
        place += 1
    return place


@workflow(events=[said, over])
async def relaying(run: WorkflowRun, to: str) -> int:
    """Send on to another run what comes, one after the other."""
    place = 0
    while (value := await next_value(run, place)) is not None:
        await run.send(to, said, value)
        place += 1
    await run.send(to, over)
    return place


@workflow
async def regretted(run: WorkflowRun) -> None:
    """Do what is to be undone when the run is told to end."""
    try:
        await do.run(run)
        await asyncio.gather(run.sleep("1h"), run.wait_for(over))
    finally:
        await undo.run(run)
