"""Clients say how long ended runs are kept, read what is in force, and are told of what is gone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aiki import Client, Conflict, UsageError, Worker, WorkflowRun, workflow
from aiki.client.retention import RetentionPolicy
from aiki.core.duration import MICROSECONDS
from aiki.core.errors import NotFound
from aiki.core.ids import uuid7
from aiki.core.retention import Periods
from aiki.wire.messages import OpenSession, Route, Workflows
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio
DAY = MICROSECONDS["d"]


@workflow(name="short", version="1", retention={"completed": "1d", "failed": "keep"})
async def short(run: WorkflowRun) -> None: ...


async def in_force(client: Client, name: str) -> Periods:
    (route,) = (await client._wire.call(Workflows(name))).routes
    return route.retention


async def test_what_a_project_says_is_kept_changed_and_told(client: Client) -> None:
    plan = await client.retention.apply("shop", {"a": "30d", "*": {"failed": timedelta(days=90)}})
    assert [(one.name, one.action, one.kind) for one in plan.changes] == [
        ("*", "create", "retention"),
        ("a", "create", "retention"),
    ]
    told = [RetentionPolicy("*", "shop", "failed=90d"), RetentionPolicy("a", "shop", "30d")]
    assert await client.retention.list() == [*told, RetentionPolicy("*", None, "keep")]
    dry = await client.retention.apply("shop", {"a": "30d"}, dry_run=True, prune=True)
    assert (dry.is_done, [one.action for one in dry.changes]) == (False, ["delete", "unchanged"])
    assert len(await client.retention.list()) == 3
    with pytest.raises(Conflict, match="belongs to project 'shop'"):
        await client.retention.apply("bank", {"a": "1d", "b": "1d"})
    assert len(await client.retention.list()) == 3
    await client.retention.apply("shop", {}, prune=True)
    assert len(await client.retention.list()) == 1


@pytest.mark.parametrize("given", ["0s", "10s", {"done": "1d"}, "soon"])
async def test_no_period_that_makes_no_sense_is_sent(client: Client, given: object) -> None:
    with pytest.raises(UsageError, match="retention of 'a'"):
        await client.retention.apply("shop", {"a": given})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="workflow 'bad': retention"):
        workflow(name="bad", retention=given)(short.fn)  # type: ignore[call-overload]


async def test_what_the_code_says_is_in_force_until_a_manifest_names_the_workflow(client: Client) -> None:
    async with Worker(client, workflows=[short]):
        await (await short.enqueue(client)).result(timeout=ENOUGH)
    assert await in_force(client, "short") == Periods(DAY, 0)
    assert [one.retention for one in await client.workflows.list("short")] == ["completed=1d,failed=keep"]
    await client.retention.apply("shop", {"*": "2d"})
    assert await in_force(client, "short") == Periods(DAY, 0, 2 * DAY), "what it leaves open is as all others"
    await client.retention.apply("shop", {"short": {"completed": "3d"}})
    assert await in_force(client, "short") == Periods(3 * DAY, 0, 2 * DAY)


async def test_a_worker_that_says_what_makes_no_sense_is_refused_whole(client: Client) -> None:
    route = Route("w", "1", retention=Periods(completed=1))
    with pytest.raises(UsageError, match="less than a minute"):
        await client._wire.call(OpenSession(str(uuid7(milliseconds=1, random_bits=1)), "w-1", [route], 30.0))
    assert (await client._wire.call(Workflows("w"))).routes == []


async def test_a_run_of_which_nothing_is_known_may_have_been_deleted(client: Client) -> None:
    handle = client.handle(str(uuid7(milliseconds=1, random_bits=1)))
    for asked in (handle.status(), handle.result(timeout=ENOUGH)):
        with pytest.raises(NotFound, match="deleted after its retention"):
            await asked
