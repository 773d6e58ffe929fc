"""Schedules in a test: made by its client, fired by its clock."""

from __future__ import annotations

from datetime import UTC, datetime

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
