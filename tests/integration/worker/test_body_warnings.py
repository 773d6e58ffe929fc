"""A worker that opens warns of each line of a body that is another on replay, and of one that is added later."""

from __future__ import annotations

import time
import uuid

import pytest

from aiki import BodyWarning, Client, Worker, WorkflowRun, workflow

pytestmark = pytest.mark.anyio


@workflow
async def reads_the_clock(run: WorkflowRun) -> float:
    return time.time()


@workflow
async def reads_chance(run: WorkflowRun) -> str:
    return str(uuid.uuid4())


@workflow
async def means_it(run: WorkflowRun) -> float:
    return time.time()  # aiki: allow


async def test_a_worker_warns_when_it_opens(client: Client) -> None:
    worker = Worker(client, workflows=[reads_the_clock, means_it])
    with pytest.warns(BodyWarning, match=r"^workflow 'reads_the_clock': time\.time\(\) .*: use run\.now\(\)$") as told:
        await worker.__aenter__()
    await worker.__aexit__(None, None, None)
    assert [(one.filename, one.lineno) for one in told] == [(__file__, 17)]


async def test_a_worker_warns_of_a_workflow_that_is_added_while_it_serves(client: Client) -> None:
    async with Worker(client, workflows=[means_it]) as worker:
        with pytest.warns(BodyWarning, match=r"uuid\.uuid4\(\) .*: use run\.uuid\(\)$"):
            worker.registry.add(reads_chance)


async def test_a_warning_that_is_made_an_error_leaves_nothing_open(client: Client) -> None:
    with pytest.raises(BodyWarning):
        async with Worker(client, workflows=[reads_the_clock]):
            raise AssertionError("it has opened")
