"""A new run reaches a free worker in the commit that stores it, and never more runs than there are slots."""

from __future__ import annotations

import pytest

from aiki import Client, Worker, WorkflowRun, task, workflow
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio


@task
async def double(n: int) -> int:
    return 2 * n


@workflow
async def doubling(run: WorkflowRun, n: int) -> int:
    return await double.run(run, n)


def promised(worker: Worker) -> int:
    assert worker._parking is not None
    return sum(line.promised for line in worker._parking._lines.values())


async def parked(worker: Worker) -> None:
    """Return when a daemon has leave to hand over."""
    await wait_until(lambda: promised(worker), what="a leave")


async def story(client: Client, run_id: str) -> list[str]:
    return [item.move async for item in client.runs.history(run_id) if item.move != "entry"]


async def was_handed_over(client: Client, run_id: str) -> bool:
    """Tell whether the run was born running: a claim is another commit, and later."""
    status = await client.handle(run_id).status()
    return status.started_at == status.created_at


async def test_a_new_run_is_begun_without_a_claim(client: Client) -> None:
    async with Worker(client, workflows=[doubling]) as worker:
        await parked(worker)
        handle = await doubling.enqueue(client, 4)
        assert await handle.result(timeout=ENOUGH) == 8
        assert await was_handed_over(client, handle.run_id)
        assert await story(client, handle.run_id) == ["enqueued", "claim", "complete"]
