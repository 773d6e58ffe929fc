"""A worker that opens with other code than before warns of the runs in flight that this has begun."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from aiki import Client, Event, State, Worker, Workflow, WorkflowRun, workflow
from aiki.definitions.registry import Registry
from aiki.wire.messages import CodeChange
from aiki.worker.code_warnings import CodeWarnings
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

go = Event("go")


@workflow(name="order")
async def before(run: WorkflowRun) -> int:
    await run.wait_for(go)
    return 1


@workflow(name="order")
async def after(run: WorkflowRun) -> int:
    await run.sleep("1s")
    await run.wait_for(go)
    return 1


@workflow(name="order", version="2")
async def next_version(run: WorkflowRun) -> int:
    await run.sleep("1s")
    return 2


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "aiki.worker.code"]


async def begun(client: Client, *workflows: Workflow[..., Any]) -> str:
    """Return a run that a worker named `first` has begun, and that waits."""
    async with Worker(client, workflows=workflows, id="first", linger="0s"):
        handle = await before.enqueue(client)

        async def waits() -> bool:
            return (await handle.status()).state is State.WAITING

        await wait_until(waits, what="the run does not wait")
    return handle.run_id


async def test_a_worker_warns_once_of_code_that_has_changed_while_runs_are_in_flight(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(client, before)
    async with Worker(client, workflows=[after, next_version], id="second"):
        (said,) = await until_warned(caplog)
        async with Worker(client, workflows=[after], id="third") as third:
            third.registry.add(next_version)
            assert warned(caplog) == [said]
    assert said.startswith("the code of order 1 has changed while 1 run of it is in flight: ")
    states = "blocked,paused,queued,retrying,running,sleeping,waiting"
    assert f"`aiki replay --workflow order --version 1 --state {states} -m {__name__}`" in said
    assert "the code that first registered at " in said
    assert "raise its version" in said


async def until_warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    async def is_warned() -> bool:
        return bool(warned(caplog))

    await wait_until(is_warned, what="nothing was said")
    return warned(caplog)


async def test_nothing_is_said_of_the_same_code_nor_of_another_version(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(client, before)
    async with Worker(client, workflows=[before, next_version]):
        pass
    assert warned(caplog) == []


async def test_a_workflow_that_is_added_later_is_warned_of_too(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(client, before)
    async with Worker(client, workflows=[next_version]) as worker:
        worker.registry.add(after)
        assert len(await until_warned(caplog)) == 1


async def test_a_changed_worker_serves_what_it_can(client: Client) -> None:
    run_id = await begun(client, before)
    async with Worker(client, workflows=[after]):
        assert (await after.handle(client, run_id).status()).state is State.WAITING
        handle = await after.enqueue(client)
        await handle.send(go)
        assert await handle.result(timeout="30s") == 1


def test_what_is_said_is_one_line_that_no_name_can_break(caplog: pytest.LogCaptureFixture) -> None:
    change = CodeChange("order", "1", 10_000, 0, "w", python="3.10", capped=True)
    with caplog.at_level(logging.WARNING):
        warnings = CodeWarnings(Registry([after]))
        warnings.warn([change, change])
        warnings.warn([change])
    (said,) = warned(caplog)
    assert "10,000+ runs of it are in flight" in said
    assert "at 1970-01-01 00:00:00 UTC, on Python 3.10" in said
    assert "\n" not in said
