"""Schedules by a client: made, changed, fired and ordered; what cannot be is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki import (
    Call,
    Client,
    Conflict,
    Event,
    FiredSlot,
    NamedCall,
    NotFound,
    PayloadError,
    Retry,
    RunFailed,
    Schedule,
    UsageError,
    When,
    Worker,
    WorkflowRun,
    task,
    workflow,
)
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
go = Event("go")


@dataclass
class Scope:
    name: str
    depth: int = 1


@workflow(name="report", version="1.0")
async def report(run: WorkflowRun, scope: Scope) -> str:
    return f"{scope.name} by {run.schedule.id if run.schedule else 'nobody'}"


@workflow(name="reports", version="1.0")
async def reports(run: WorkflowRun, scope: Scope) -> str:
    child = await report.run(run, scope)
    if run.generation == 0:
        reports.continue_as_new(run, Scope(child))
    return f"{child}, {run.schedule.id if run.schedule else 'nobody'}"


def begun(hours: int) -> datetime:
    """Return a moment so many hours ago, at which clocks showed a full hour."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - hours * HOUR


async def test_what_was_declared_is_told(client: Client) -> None:
    call = report.options(labels={"team": "a"}, timeout="1h").bind(Scope("all"))
    end = datetime.now(UTC) + timedelta(days=400)
    made = await client.schedules.create("nightly", call, cron="0 2 * * *", timezone="Europe/Berlin", end=end)
    info = await made.info()
    assert info == made.seen
    assert info.when == When(cron="0 2 * * *", timezone="Europe/Berlin", end=end)
    assert info.call == NamedCall("report", {"scope": {"name": "all", "depth": 1}}, "1.0").options(
        labels={"team": "a"}, timeout="1h"
    )
    assert (info.paused, info.open, info.queued, info.last_completed, info.served) == (False, 0, 0, None, False)
    assert [info.next] == await made.next()
    assert all(slot.hour in {0, 1} for slot in await made.next(300))


async def test_each_slot_that_is_filled_in_is_a_run_of_its_own_which_sees_it(client: Client) -> None:
    made = await client.schedules.create("hourly", report.bind(Scope("all")), every="1h", anchor=begun(0))
    assert await made.backfill(begun(5), begun(2), dry_run=True) == [begun(5), begun(4), begun(3)]
    first = await made.backfill(begun(5), begun(3))
    again = await made.backfill(begun(5), begun(3))
    assert [handle.run_id for handle in again] == [handle.run_id for handle in first], "each is filled in once"
    assert await made.backfill(begun(5), begun(2), dry_run=True) == [begun(3)]
    outcomes = await client.schedules.backfill("hourly", begun(5), begun(2))
    assert [(one.slot, one.result, one.kind) for one in outcomes if one.slot == begun(3)] == [
        (begun(3), "started", "backfill")
    ]
    async with Worker(client, workflows=[report]):
        assert {await handle.result(timeout=ENOUGH) for handle in first} == {"all by hourly"}
    status = await first[0].status()
    assert status.schedule is not None
    assert (status.schedule.id, status.schedule.slot) == ("hourly", begun(5))


async def test_a_trigger_fires_also_a_schedule_that_is_paused_and_its_result_is_typed(client: Client) -> None:
    made = await client.schedules.create("by-hand", report.bind(Scope("all")), every="1d")
    await made.pause(note="holidays")
    handle = await made.trigger()
    assert await made.trigger() is not handle
    async with Worker(client, workflows=[report]):
        assert await handle.result(timeout=ENOUGH) == "all by by-hand"

        async def is_told() -> bool:
            info = await made.info()
            return info.served and [slot.state for slot in info.slots] == ["completed"] * 2

        await wait_until(is_told)
    info = await made.info(slots=1)
    assert (info.paused, info.note, info.next, len(info.slots)) == (True, "holidays", None, 1)
    assert info.slots[0].kind == "trigger"
    await made.resume()
    assert not (await made.info()).paused


async def test_a_run_is_of_its_slot_in_each_generation_and_its_children_are_of_none(client: Client) -> None:
    made = await client.schedules.create("onward", reports.bind(Scope("all")), every="1d")
    async with Worker(client, workflows=[report, reports]):
        assert await (await made.trigger()).result(timeout=ENOUGH) == "all by nobody by nobody, onward"


async def test_a_run_is_of_its_slot_in_its_own_retries_and_in_those_of_a_person(client: Client) -> None:
    seen: list[FiredSlot | None] = []

    @task(retry=Retry.none())
    async def mend() -> str:
        if len(seen) < 3:
            raise ValueError("not yet")
        return "done"

    @workflow(name="fragile", version="1", retry=Retry.fixed(2, "1ms"))
    async def fragile(run: WorkflowRun) -> str:
        seen.append(run.schedule)
        return await mend.run(run)

    made = await client.schedules.create("fragile", fragile.bind(), every="1h", anchor=begun(0))
    (handle,) = await made.backfill(begun(2), begun(1))
    async with Worker(client, workflows=[fragile]):
        with pytest.raises(RunFailed):
            await handle.result(timeout=ENOUGH)
        assert await (await handle.retry()).result(timeout=ENOUGH) == "done"
    assert seen == [FiredSlot("fragile", begun(2))] * 3
    (slot,) = (await made.info()).slots
    assert (slot.run_id, slot.state) == (handle.run_id, "completed"), "that of the newest of its retries"


async def test_an_update_changes_what_it_names_and_nothing_else(client: Client) -> None:
    call = report.options(priority=3).bind(Scope("all"))
    await client.schedules.create("nightly", call, cron="0 2 * * *", timezone="Europe/Berlin", jitter="5m")
    since = (await client.schedules.update("nightly", cron="0 3 * * *", overlap="queue")).seen
    assert since is not None
    assert since.when == When(cron="0 3 * * *", timezone="Europe/Berlin", jitter=timedelta(minutes=5), overlap="queue")
    assert (since.call.payload, since.call.run_options.priority) == ({"scope": {"name": "all", "depth": 1}}, 3)
    other = (await client.schedules.update("nightly", report.bind(Scope("some")), jitter=None)).seen
    assert other is not None
    assert (other.when.jitter, other.call.run_options.priority) == (timedelta(0), None)
    assert other.call.payload["scope"]["name"] == "some"
    assert other.revision > since.revision


async def test_a_name_that_is_taken_is_refused_and_a_repeat_changes_nothing(client: Client) -> None:
    create = client.schedules.create
    first = (await create("nightly", report.bind(Scope("all")), every="1h")).seen
    again = (await create("nightly", report.bind(Scope("all")), every="1h")).seen
    assert first == again
    with pytest.raises(Conflict, match="'nightly' is there already, and differs") as caught:
        await create("nightly", report.bind(Scope("other")), every="1h")
    assert caught.value.command == "aiki schedule show nightly"


async def test_a_name_that_a_project_owns_is_refused_and_an_update_leaves_it_to_its_project(client: Client) -> None:
    call = report.bind(Scope("all"))
    await client.schedules.apply("shop", {"nightly": (call, When(every=HOUR))})
    with pytest.raises(Conflict, match="schedule 'nightly' belongs to project 'shop'"):
        await client.schedules.create("nightly", call, every="1h")
    since = (await client.schedules.update("nightly", every="2h")).seen
    assert since is not None
    assert (since.project, since.when.every) == ("shop", 2 * HOUR)
    assert [one.name for one in await client.schedules.list(project="shop")] == ["nightly"]


async def test_many_are_listed_by_name_and_ordered_at_once(client: Client) -> None:
    names = [f"s-{number:03}" for number in range(250)]
    for name in names:
        await client.schedules.create(name, report.bind(Scope("all")), every="1h")
    assert [one.name for one in await client.schedules.list()] == names
    assert await client.schedules.list(project="shop") == []
    outcomes = await client.schedules.pause_batch([*names, "s-25O"], note="all of them")
    assert outcomes[:-1] == [None] * 250
    assert isinstance(outcomes[-1], NotFound)
    assert {one.seen.note for one in await client.schedules.list() if one.seen} == {"all of them"}
    assert await client.schedules.resume_batch(names) == [None] * 250
    assert await client.schedules.delete_batch(names) == [None] * 250
    assert await client.schedules.list() == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda schedule: schedule.info(),
        lambda schedule: schedule.next(),
        lambda schedule: schedule.trigger(),
        lambda schedule: schedule.backfill(begun(2), begun(1)),
        lambda schedule: schedule.pause(),
        lambda schedule: schedule.resume(),
        lambda schedule: schedule.delete(),
    ],
)
async def test_one_that_does_not_exist_is_asked_about(client: Client, ask: Callable[[Schedule[Any]], Any]) -> None:
    await client.schedules.create("nightly", report.bind(Scope("all")), every="1h")
    with pytest.raises(NotFound, match="did you mean 'nightly'") as caught:
        await ask(client.schedules.get("nigthly"))
    assert caught.value.command == "aiki schedule show nightly"
    with pytest.raises(NotFound, match="does not exist in namespace"):
        await client.schedules.update("nigthly", every="2h")


@pytest.mark.parametrize(
    ("call", "when", "what"),
    [
        (
            report.options(idempotency_key="a").bind(Scope("a")),
            {"every": "1h"},
            "no idempotency_key=: each slot is one",
        ),
        (report.options(delay="1h").bind(Scope("a")), {"every": "1h"}, "no delay=: jitter="),
        (report.options(start_at=datetime.now(UTC)).bind(Scope("a")), {"every": "1h"}, "no start_at="),
        (report.options(send=go.bind()).bind(Scope("a")), {"every": "1h"}, "no send="),
        (report.options(on_conflict="restart").bind(Scope("a")), {"every": "1h"}, "no on_conflict="),
        (report.bind(Scope("a")), {"cron": "0 25 * * *"}, "'25' is no hour"),
        (report.bind(Scope("a")), {"cron": "0 2 30 2 *"}, "never fires"),
        (report.bind(Scope("a")), {"every": "1h", "priority": 3}, "options of a bound workflow are set before"),
        (report, {"every": "1h"}, "nothing that can be enqueued"),
    ],
)
async def test_what_no_schedule_can_be_is_refused_in_words(
    client: Client, call: Call[str], when: dict[str, Any], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        await client.schedules.create("refused", call, **when)
    assert await client.schedules.list() == []


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "x\n", "ä", "a.b"])
async def test_a_name_that_cannot_be_is_refused(client: Client, name: str) -> None:
    with pytest.raises(UsageError, match="no schedule's name"):
        await client.schedules.create(name, report.bind(Scope("a")), every="1h")
    with pytest.raises(UsageError, match="no schedule's name"):
        client.schedules.get(name)


async def test_notes_and_ranges_that_cannot_be_are_refused(client: Client) -> None:
    made = await client.schedules.create("nightly", report.bind(Scope("all")), every="1s")
    for note in ("x" * 10_000, "a\0b"):
        with pytest.raises(UsageError, match="at most 1,000 characters, without NUL"):
            await made.pause(note=note)
    await made.pause(note="\x1b[2J\u202e" + "x" * 900)
    with pytest.raises(UsageError, match="no slot lies from"):
        await made.backfill(begun(1), begun(2))
    with pytest.raises(UsageError, match="1,000"):
        await made.backfill(begun(48), begun(1))
    with pytest.raises(UsageError, match="one of skip"):
        await made.backfill(begun(2), begun(1), overlap="replace")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="from 1 to 1,000"):
        await made.next(1_001)


async def test_by_its_name_a_workflow_is_checked_by_what_is_registered(client: Client) -> None:
    create = client.schedules.create
    with pytest.raises(NotFound, match="no worker has ever served it"):
        await create("nightly", "report", {"scope": {"name": "all"}}, cron="@daily")
    async with Worker(client, workflows=[report]):
        with pytest.raises(PayloadError, match=r"\$\.scope: 'name' is missing"):
            await create("nightly", "report", {"scope": {}}, cron="@daily")
        with pytest.raises(NotFound, match="no version '2'"):
            await create("nightly", "report", {"scope": {"name": "all"}}, cron="@daily", version="2")
        made = await create("nightly", "report", {"scope": {"name": "all"}}, cron="@daily", labels={"team": "a"})
        assert await (await made.trigger()).result(timeout=ENOUGH) == "all by nightly"
    info = await made.info()
    assert (info.call.version, info.call.run_options.labels) == ("1.0", {"team": "a"})
