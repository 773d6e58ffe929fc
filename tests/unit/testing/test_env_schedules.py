"""Schedules in a test: made by its client, fired by its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aiki import UsageError, WorkflowRun, task, workflow
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio


@task
async def note(slot: datetime | None) -> None: ...


@workflow
async def report(run: WorkflowRun, scope: str) -> str:
    await note.run(run, run.schedule.slot if run.schedule else None)
    await run.sleep("90m")
    return scope


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 1, hour, minute, tzinfo=UTC)


async def test_a_schedule_fires_at_each_of_its_slots_as_the_clock_comes_to_it() -> None:
    async with TestEnv() as env:
        noted = env.mock(note).returns(None)
        pulse = await env.client.schedules.create("pulse", report.bind("all"), every="1h", overlap="allow")
        assert await pulse.next(2) == [at(1), at(2)]
        await env.advance("3h")
        assert [call["slot"] for call in noted.calls] == [at(1), at(2), at(3)]


async def test_a_slot_that_meets_a_run_that_goes_on_is_skipped() -> None:
    async with TestEnv() as env:
        noted = env.mock(note).returns(None)
        await env.client.schedules.create("pulse", report.bind("all"), every="1h", overlap="skip")
        await env.advance("5h")
        assert [call["slot"] for call in noted.calls] == [at(1), at(3), at(5)]


async def test_a_slot_fires_once_whatever_dies() -> None:
    async with TestEnv() as env:
        noted = env.mock(note).returns(None)
        await env.client.schedules.create("pulse", report.bind("all"), every="1h", overlap="allow")
        for _ in range(6):
            await env.advance("30m")
            await env.crash_worker()
        assert [call["slot"] for call in noted.calls] == [at(1), at(2), at(3)]


async def test_a_schedule_of_a_workflow_by_name_needs_it_known() -> None:
    async with TestEnv() as env:
        with pytest.raises(UsageError, match="knows no workflow 'nobody'"):
            await env.client.schedules.create("pulse", unknown(), every="1h")


def unknown():
    @workflow(name="nobody")
    async def nobody(run: WorkflowRun) -> None: ...

    return nobody.bind()


async def test_days_with_a_slot_that_waits_cost_no_look_each_second() -> None:
    async with TestEnv() as env:
        noted = env.mock(note).returns(None)
        await env.client.schedules.create("pulse", long_report.bind(), every="12h", overlap="queue")
        passed = counting_looks(env)
        await env.advance("10d")
        assert [call["slot"] for call in noted.calls] == [at(12) + number * timedelta(hours=12) for number in range(5)]
        assert passed[0] < 60
        told = await env.client.schedules.get("pulse").info(slots=100)
        starts = sorted(slot.at for slot in told.slots if slot.result == "started")
        assert starts[1] - starts[0] == timedelta(days=2, seconds=1)


@workflow
async def long_report(run: WorkflowRun) -> None:
    await note.run(run, run.schedule.slot if run.schedule else None)
    await run.sleep("2d")


def counting_looks(env: TestEnv) -> list[int]:
    """Count how often the clock of a test stops from now on."""
    stage, count = env._stage, [0]
    assert stage is not None
    pass_time = stage.engine.pass_time

    def counted() -> None:
        count[0] += 1
        pass_time()

    stage.engine.pass_time = counted  # type: ignore[method-assign]
    return count


async def test_runs_of_a_schedule_have_the_same_ids_each_time_a_test_runs() -> None:
    async def play() -> list[str]:
        async with TestEnv() as env:
            await env.client.schedules.create("pulse", report.bind("all"), every="1h", overlap="allow")
            await env.advance("2h")
            return [run.run_id for run in (await env.client.runs.list()).runs]

    assert await play() == await play()
