"""A run's own timeout, as its definition or its enqueuer gives it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aiki import Client, RunFailed, RunTimedOut, State, Worker, WorkflowRun, workflow
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio


@workflow(timeout="150ms")
async def short(run: WorkflowRun) -> None:
    pass


@workflow(timeout="1h", cancel_timeout="1m")
async def long(run: WorkflowRun) -> str:
    return "in time"


async def test_a_run_that_nobody_takes_up_in_time_has_failed_for_its_enqueuer(client: Client) -> None:
    handle = await short.enqueue(client)
    with pytest.raises(RunTimedOut, match="timed out: its deadline passed at") as end:
        await handle.result(timeout=ENOUGH)
    assert isinstance(end.value, RunFailed)
    assert (end.value.run_id, end.value.type) == (handle.run_id, "RunTimedOut")
    status = await handle.status()
    assert (status.state, status.timed_out, status.ended) == (State.FAILED, True, True)
    assert status.deadline == status.created_at + timedelta(milliseconds=150)


async def test_what_the_enqueuer_says_goes_before_the_definition(client: Client) -> None:
    handles = [await short.options(timeout=given).enqueue(client) for given in ("2h", None)]
    statuses = [await handle.status() for handle in handles]
    assert statuses[0].deadline == statuses[0].created_at + timedelta(hours=2)
    assert statuses[1].deadline is None


async def test_a_run_by_name_has_the_timeout_of_its_definition(client: Client) -> None:
    async with Worker(client, workflows=[long]):
        handle = await client.enqueue("long", {})
        given = await client.enqueue("long", {}, timeout="3h")
        assert await handle.result(timeout=ENOUGH) == "in time"
        status = await handle.status()
        assert status.deadline == status.created_at + timedelta(hours=1)
        assert (status.timed_out, status.error) == (False, None)
        status = await given.status()
        assert status.deadline == status.created_at + timedelta(hours=3)
