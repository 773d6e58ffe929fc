"""A project's schedules are made those that it declares: all in one commit, or none."""

from __future__ import annotations

import pytest

from aiki import Client, Conflict, NamedCall, NotFound, PayloadError, UsageError, When, Worker, WorkflowRun, workflow
from aiki.client.applying import Change, Plan

pytestmark = pytest.mark.anyio

NIGHTLY, HOURLY = When(cron="0 2 * * *", timezone="Europe/Berlin"), When(cron="@hourly")


@workflow(name="report", version="1.0")
async def report(run: WorkflowRun, scope: str, depth: int = 1) -> str:
    return scope


@workflow(name="report", version="2.0")
async def report_again(run: WorkflowRun, scope: str) -> str:
    return scope


async def names(client: Client) -> list[str]:
    return [schedule.name for schedule in await client.schedules.list()]


async def test_a_plan_changes_nothing_and_carried_out_it_is_done_at_once(client: Client) -> None:
    declared = {"b": (report.bind("all"), NIGHTLY), "a": (report.bind("some"), HOURLY)}
    plan = await client.schedules.apply("shop", declared, dry_run=True)
    assert plan == Plan("shop", (Change("a", "create"), Change("b", "create")), is_done=False)
    assert await names(client) == []
    done = await client.schedules.apply("shop", declared)
    assert (done.changes, done.is_done) == (plan.changes, True)
    assert await names(client) == ["a", "b"]
    again = await client.schedules.apply("shop", declared)
    assert again.pending == []
    info = await client.schedules.get("b").info()
    assert (info.project, info.when.timezone, info.call.payload) == (
        "shop",
        "Europe/Berlin",
        {"scope": "all", "depth": 1},
    )


async def test_what_is_not_declared_any_more_is_paused_and_comes_back_or_goes(client: Client) -> None:
    both = {"a": (report.bind("a"), HOURLY), "b": (report.bind("b"), HOURLY)}
    one = {"a": both["a"]}
    await client.schedules.apply("shop", both)
    plan = await client.schedules.apply("shop", one)
    assert [(change.name, change.action) for change in plan.changes] == [("a", "unchanged"), ("b", "pause")]
    gone = await client.schedules.get("b").info()
    assert (gone.paused, gone.vanished, gone.next) == (True, True, None)
    assert (await client.schedules.apply("shop", one)).pending == []
    await client.schedules.apply("shop", both)
    back = await client.schedules.get("b").info()
    assert (back.paused, back.vanished, back.next is not None) == (False, False, True)
    pruned = await client.schedules.apply("shop", {}, prune=True)
    assert [change.action for change in pruned.changes] == ["delete", "delete"]
    assert await names(client) == []


async def test_a_name_of_somebody_else_is_a_conflict_and_nothing_is_done(client: Client) -> None:
    await client.schedules.apply("shop", {"a": (report.bind("a"), HOURLY)})
    await client.schedules.create("b", report.bind("b"), cron="@daily")
    declared = {name: (report.bind(name), HOURLY) for name in ("a", "b", "c")}
    with pytest.raises(Conflict) as caught:
        await client.schedules.apply("bank", declared)
    assert caught.value.message == "schedule 'a' belongs to project 'shop'; nothing was applied"
    assert caught.value.facts == ["schedule 'b' belongs to no project: a program or a person has made it"]
    assert await names(client) == ["a", "b"]
    plan = await client.schedules.apply("bank", declared, dry_run=True)
    assert [change.action for change in plan.changes] == ["refused", "refused", "create"]


async def test_what_cannot_be_is_refused_with_the_name_of_its_schedule(client: Client) -> None:
    fits = (report.bind("a"), HOURLY)
    with pytest.raises(UsageError, match=r"^schedule 'b': a schedule fires by one of cron, every and at"):
        await client.schedules.apply("shop", {"a": fits, "b": (report.bind("b"), When())})
    with pytest.raises(NotFound, match=r"^schedule 'b': workflow 'report' is not registered"):
        await client.schedules.apply("shop", {"a": fits, "b": (NamedCall("report", {"scope": "b"}), HOURLY)})
    async with Worker(client, workflows=[report]):
        with pytest.raises(PayloadError, match=r"^schedule 'b': \$\.scope: must be string, not 1"):
            await client.schedules.apply("shop", {"a": fits, "b": (NamedCall("report", {"scope": 1}), HOURLY)})
    keyed = report.options(idempotency_key="k").bind("b")
    with pytest.raises(UsageError, match=r"^schedule 'b': what a schedule enqueues has no idempotency_key="):
        await client.schedules.apply("shop", {"b": (keyed, HOURLY)})
    assert await names(client) == []


async def test_one_of_several_versions_has_to_be_declared(client: Client) -> None:
    async with Worker(client, workflows=[report, report_again]):
        with pytest.raises(UsageError, match=r"^schedule 'a': workflow 'report' has several versions") as caught:
            await client.schedules.apply("shop", {"a": (NamedCall("report", {"scope": "a"}), HOURLY)})
        assert (caught.value.hint, caught.value.command) == ('version="1.0"', None)
        await client.schedules.apply("shop", {"a": (NamedCall("report", {"scope": "a"}, "2.0"), HOURLY)})
    assert (await client.schedules.get("a").info()).call.version == "2.0"
