"""Scenarios of schedules: slots that fire, wait, are skipped or missed, and what their runs see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiki import Event, State, WorkflowRun, task, workflow
from tests.conformance.answers import refusal
from tests.conformance.stage import Stage, scenario

go = Event("go", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow
async def report(run: WorkflowRun, takes: int) -> list[str]:
    """Tell what it sees of its slot, and take so many seconds."""
    fired = run.schedule
    assert fired is not None
    await run.sleep(timedelta(seconds=takes))
    return [fired.id, str(fired.slot), str(fired.last_completed), await note.run(run, "told")]


@workflow
async def waits(run: WorkflowRun) -> str:
    return await run.wait_for(go)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 1, 1, hour, minute, second, tzinfo=UTC)


async def slots(stage: Stage, name: str) -> list[str]:
    """Return what became of a schedule's slots, oldest first."""
    info = await stage.client.schedules.get(name).info(slots=100)
    told = [f"{one.slot} {one.kind} {one.result} {one.count} {one.reason or ''}".strip() for one in info.slots]
    return sorted(told)


async def results(stage: Stage, workflow: str) -> list[str]:
    """Return the results of a workflow's runs, oldest first."""
    runs = (await stage.client.runs.list(workflow=workflow)).runs
    return sorted(str(run.result) if run.state is State.COMPLETED else str(run.state) for run in runs)


@scenario(report, shows=("schedules.slot",))
async def each_slot_is_one_run_that_knows_it(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", report.bind(60), every="1h")
    await stage.advance("3h30m")
    assert len(await results(stage, "report")) == 3
    return [await slots(stage, "hourly"), await results(stage, "report")]


@scenario(report, shows=("schedules.slot", "schedules.cron"))
async def a_cron_fires_by_the_clocks_of_its_zone(stage: Stage) -> Sequence[Any]:
    await stage.miss("86d")
    nightly = await stage.client.schedules.create(
        "nightly", report.bind(1), cron="30 2 * * *", timezone="Europe/Berlin"
    )
    await stage.advance("5d")
    return [await slots(stage, "nightly"), await nightly.next(3)]


@scenario(report, shows=("schedules.slot",))
async def a_single_date_fires_once(stage: Stage) -> Sequence[Any]:
    once = await stage.client.schedules.create("once", report.bind(1), at=at(5))
    await stage.advance("2d")
    assert await once.next(1) == []
    return [await slots(stage, "once")]


@scenario(report, shows=("schedules.overlap",))
async def a_slot_that_meets_an_open_run_is_skipped(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", report.bind(5400), every="1h", overlap="skip")
    await stage.advance("4h30m")
    told = await slots(stage, "hourly")
    assert sum("skipped" in one for one in told) == 2
    return told


@scenario(report, shows=("schedules.overlap",))
async def slots_may_start_beside_one_another(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", report.bind(5400), every="1h", overlap="allow")
    await stage.advance("4h")
    return await slots(stage, "hourly")


@scenario(waits, shows=("schedules.overlap",), is_timed=False)  # within a second of the end
async def slots_wait_for_the_end_of_the_run_before(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("often", waits.bind(), every="2s", overlap="queue")
    await stage.advance("7s")
    before = await slots(stage, "often")
    (run,) = (await stage.client.runs.list(workflow="waits")).runs
    await waits.handle(stage.client, run.run_id).send(go, "on")
    await stage.advance("2s")
    assert len((await stage.client.runs.list(workflow="waits")).runs) == 2
    return [before, await slots(stage, "often")]


@scenario(waits, shows=("schedules.overlap",))
async def a_slot_may_cancel_the_run_before_and_starts_when_that_has_ended(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", waits.bind(), every="1h", overlap="cancel_previous")
    await stage.advance("2h30m")
    runs = (await stage.client.runs.list(workflow="waits")).runs
    assert sorted(run.state for run in runs) == [State.CANCELLED, State.WAITING]
    return await slots(stage, "hourly")


@scenario(waits, shows=("schedules.open",))
async def a_paused_run_is_open(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", waits.bind(), every="1h")
    await stage.advance("1h")
    (run,) = (await stage.client.runs.list(workflow="waits")).runs
    await waits.handle(stage.client, run.run_id).pause()
    await stage.advance("1h")
    return await slots(stage, "hourly")


@workflow
async def leaves(run: WorkflowRun) -> None:
    await waits.options(parent_close="abandon").start(run)


@scenario(leaves, waits, shows=("schedules.open",))
async def a_run_whose_child_goes_on_is_open(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", leaves.bind(), every="1h")
    await stage.advance("2h")
    (child,) = (await stage.client.runs.list(workflow="waits")).runs
    await waits.handle(stage.client, child.run_id).send(go, "on")
    await stage.advance("1h")
    told = await slots(stage, "hourly")
    assert ["skipped" in one for one in told] == [False, True, False]
    return told


async def missed(stage: Stage, **options: Any) -> Sequence[Any]:
    """Let nobody look for some hours, and return what becomes of their slots."""
    await stage.client.schedules.create("hourly", report.bind(1), every="1h", overlap="allow", **options)
    await stage.advance("1h1m")
    await stage.miss("4h9m")
    await stage.advance("1h")
    return [await slots(stage, "hourly"), await results(stage, "report")]


@scenario(report, shows=("schedules.catch-up",))
async def of_slots_that_nobody_fired_in_time_the_latest_is_fired(stage: Stage) -> Sequence[Any]:
    return await missed(stage)


@scenario(report, shows=("schedules.catch-up",))
async def all_slots_that_nobody_fired_in_time_may_be_fired(stage: Stage) -> Sequence[Any]:
    return await missed(stage, catch_up="all")


@scenario(report, shows=("schedules.catch-up",))
async def slots_that_nobody_fired_in_time_may_be_left(stage: Stage) -> Sequence[Any]:
    return await missed(stage, catch_up="none")


@scenario(report, shows=("schedules.catch-up",))
async def slots_older_than_the_window_are_missed(stage: Stage) -> Sequence[Any]:
    return await missed(stage, catch_up="all", window="2h")


@scenario(report, shows=("schedules.pause",))
async def a_resume_never_fires_what_was_missed(stage: Stage) -> Sequence[Any]:
    hourly = await stage.client.schedules.create("hourly", report.bind(1), every="1h", catch_up="all")
    await stage.advance("1h")
    await hourly.pause(note="holidays")
    await stage.advance("3h")
    await hourly.resume()
    await stage.advance("1h")
    return await slots(stage, "hourly")


@scenario(report, shows=("schedules.kinds",))
async def a_trigger_fires_at_once_whatever_the_overlap_says(stage: Stage) -> Sequence[Any]:
    hourly = await stage.client.schedules.create("hourly", report.bind(5400), every="1h")
    await stage.advance("1h")
    await hourly.trigger()
    await hourly.pause()
    await stage.advance("1s")
    await hourly.trigger()
    await stage.advance("2h")
    return [await slots(stage, "hourly"), await results(stage, "report")]


@scenario(report, shows=("schedules.kinds",))
async def a_backfill_fires_slots_that_have_passed_once_each(stage: Stage) -> Sequence[Any]:
    hourly = await stage.client.schedules.create("hourly", report.bind(1), every="1h")
    await hourly.pause()
    await stage.advance("5h")
    await hourly.backfill(at(1), at(4))
    await stage.advance("1m")
    said = [await slots(stage, "hourly")]
    await hourly.backfill(at(1), at(4))
    await stage.advance("1m")
    return [*said, await slots(stage, "hourly"), await results(stage, "report")]


@scenario(report, shows=("schedules.kinds",))
async def an_update_and_a_delete_leave_what_has_fired(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", report.bind(1), every="1h")
    await stage.advance("2h")
    await stage.client.schedules.update("hourly", every="30m")
    await stage.advance("1h")
    said: list[Any] = [await slots(stage, "hourly")]
    await stage.client.schedules.get("hourly").delete()
    await stage.advance("3h")
    return [*said, await results(stage, "report"), await refusal(stage.client.schedules.get("hourly").info())]


@scenario(report)
async def what_cannot_be_a_schedule_is_refused(stage: Stage) -> Sequence[Any]:
    schedules = stage.client.schedules
    await schedules.create("taken", report.bind(1), every="1h")
    return [
        await refusal(schedules.create("taken", report.bind(2), every="1h")),
        await refusal(schedules.create("wrong", report.bind(1), cron="nonsense")),
        await refusal(schedules.create("wrong", report.bind(1), cron="0 2 * * *", timezone="Nowhere/At_All")),
        await refusal(schedules.create("wrong", "report", {"takes": "long"}, every="1h")),
        await refusal(schedules.get("unknown").trigger()),
    ]


@scenario(report, shows=("schedules.jitter",))
async def a_jitter_spreads_runs_and_not_slots(stage: Stage) -> Sequence[Any]:
    await stage.client.schedules.create("hourly", report.bind(1), every="1h", jitter="10m")
    await stage.advance("3h30m")
    return [await slots(stage, "hourly"), await results(stage, "report")]
