"""Enqueue by a workflow's name: what the command line and other languages do."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import pytest

from aiki import Client, Event, NotFound, PayloadError, UsageError, Worker, WorkflowRun, workflow
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio


@dataclass
class Order:
    id: str
    cents: list[int]


@workflow(name="pay", version="1.0")
async def pay(run: WorkflowRun, order: Order, fast: bool = False) -> int:
    return sum(order.cents)


@workflow(name="pay", version="1.1")
async def pay_more(run: WorkflowRun, order: Order, tip: int) -> int:
    return sum(order.cents) + tip


PAYLOAD = {"order": {"id": "o", "cents": [1, 2]}}


async def test_it_runs_the_one_version_there_is(client: Client) -> None:
    async with Worker(client, workflows=[pay]):
        handle = await client.enqueue("pay", PAYLOAD)
        assert await handle.result(timeout=ENOUGH) == 3
        assert (await handle.status()).version == "1.0"


async def test_a_workflow_that_nobody_registered_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="nobody-knows-it"):
        await client.enqueue("nobody-knows-it", {})


async def test_a_name_that_is_almost_a_workflows_is_asked_about_and_each_caller_has_a_hint_of_its_own(
    client: Client,
) -> None:
    async with Worker(client, workflows=[pay_more]):
        with pytest.raises(NotFound, match="did you mean 'pay'") as caught:
            await client.enqueue("Pay_", {})
        assert caught.value.command == "aiki enqueue pay"
        assert traceback.format_exception(caught.value)[-1] == 'hint: await client.enqueue("pay", ...)\n'
        with pytest.raises(PayloadError, match=r"\$\.order: 'id' is missing \(is it what 'i_d' should be\?\)"):
            await client.enqueue("pay", {"order": {"i_d": "o", "cents": []}, "tip": 1})
        with pytest.raises(PayloadError, match=r"\$: 'tips' is not known \(did you mean 'tip'\?\)"):
            await client.enqueue("pay", {"order": {"id": "o", "cents": []}, "tip": 1, "tips": 2})


async def test_several_versions_need_one_to_be_named(client: Client) -> None:
    async with Worker(client, workflows=[pay, pay_more]):
        with pytest.raises(UsageError, match=r"1\.1.*1\.0|1\.0.*1\.1"):
            await client.enqueue("pay", PAYLOAD)
        with pytest.raises(NotFound, match=r"2\.0"):
            await client.enqueue("pay", PAYLOAD, version="2.0")
        handle = await client.enqueue("pay", {**PAYLOAD, "tip": 10}, version="1.1")
        assert await handle.result(timeout=ENOUGH) == 13


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "order"),
        ({"order": {"id": "o", "cents": [1, "two"]}}, r"\$\.order\.cents\[1\]"),
        ({"order": {"id": 7, "cents": []}}, r"\$\.order\.id"),
        ({**PAYLOAD, "fast": "yes"}, r"\$\.fast"),
        ({"order": {"id": "o", "cents": [float("nan")]}}, "NaN|nan"),
        ({"order": {"id": "\ud800", "cents": []}}, "surrogate"),
    ],
)
async def test_a_payload_that_does_not_fit_is_refused_with_its_path(
    client: Client, payload: dict[str, object], path: str
) -> None:
    async with Worker(client, workflows=[pay]):
        with pytest.raises(PayloadError, match=path):
            await client.enqueue("pay", payload)
        assert (await client.runs.summary()).counts == []


async def test_registered_workflows_are_listed_with_what_they_take(client: Client) -> None:
    async with Worker(client, workflows=[pay, pay_more]):
        found = await client.workflows.list("pay")
        assert {(info.version, info.live) for info in found} == {("1.0", True), ("1.1", True)}
        old = next(info for info in found if info.version == "1.0")
        assert set(old.parameters["properties"]) == {"order", "fast"}
    assert all(not info.live for info in await client.workflows.list("pay"))


async def test_a_workflow_says_which_events_it_takes_until_its_code_says_no_more(client: Client) -> None:
    asked = Event("asked", type=Order)

    @workflow(name="ask", version="1", events=[asked, Event("ping")])
    async def ask(run: WorkflowRun) -> None: ...

    @workflow(name="ask", version="1")
    async def ask_anything(run: WorkflowRun) -> None: ...

    async with Worker(client, workflows=[pay, ask]):
        known = {info.name: info.events for info in await client.workflows.list()}
        assert known["pay"] is None
        assert known["ask"] == {"asked": asked.schema(), "ping": {"type": "null"}}
    async with Worker(client, workflows=[ask_anything]):
        (info,) = await client.workflows.list("ask")
        assert info.events is None
