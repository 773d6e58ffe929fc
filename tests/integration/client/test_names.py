"""One name for one thing: whoever speaks of a run calls it `run_id`, and the first of its retries `origin_id`."""

from __future__ import annotations

import psycopg
import pytest

from aiki import Client, Worker, WorkflowRun, task, task_run, workflow
from tests.servers import Aikids, Nats
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio


@task
async def seen() -> str:
    return task_run().run_id


@workflow
async def names(run: WorkflowRun) -> list[str]:
    return [run.run_id, run.origin_id, await seen.run(run)]


async def test_a_run_has_one_name_for_all(client: Client) -> None:
    async with Worker(client, workflows=[names]):
        handle = await names.enqueue(client)
        assert await handle.result(timeout=ENOUGH) == [handle.run_id] * 3
    status = await handle.status()
    assert (status.run_id, status.origin_id) == (handle.run_id, handle.run_id)
    assert (status.attempt, status.claims) == (1, 1)


async def test_a_retry_names_its_origin(start_aikid: Aikids, nats: Nats, namespace: str, database: str) -> None:
    start_aikid()
    async with Client.connect(nats.url, namespace=namespace) as client:
        first, retry = [await names.enqueue(client) for _ in range(2)]
        with psycopg.connect(database) as connection:
            connection.execute("UPDATE aiki.runs SET origin_id = %s WHERE id = %s", [first.run_id, retry.run_id])
        status = await retry.status()
        assert (status.run_id, status.origin_id) == (retry.run_id, first.run_id)
        async with Worker(client, workflows=[names]):
            assert await retry.result(timeout=ENOUGH) == [retry.run_id, first.run_id, retry.run_id]
