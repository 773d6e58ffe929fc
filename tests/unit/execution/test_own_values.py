"""What a run has of its own: its time, its random numbers, its log."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki.definitions.workflow import workflow
from aiki.inside.fired import FiredSlot
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Fired, RunOptions
from tests.unit.execution.replays import again, run, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def test_now_uuid_and_random_are_the_same_on_replay() -> None:
    seen: list[Any] = []

    @workflow(name="own", version="1")
    async def own(run: WorkflowRun) -> None:
        seen.append((run.now(), run.uuid(), run.random()))
        await slow.run(run, 1)
        seen.append((run.now(), run.uuid(), run.random()))

    again(run(own))
    assert seen[:2] == seen[2:]
    assert seen[0][0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert seen[1][0] - seen[0][0] == timedelta(seconds=5)
    assert seen[0][1] != seen[1][1]


def test_the_runs_log_is_silent_on_replay(caplog: pytest.LogCaptureFixture) -> None:
    @workflow(name="logs", version="1")
    async def logs(run: WorkflowRun) -> None:
        run.log.info("before")
        await slow.run(run, 1)
        run.log.info("after", extra={"more": 1})

    with caplog.at_level(logging.INFO, "aiki.run"):
        again(run(logs))
    assert [record.message for record in caplog.records] == ["before", "after"]
    assert caplog.records[0].__dict__["run_id"].startswith("0190b0a0")


def test_a_run_of_a_schedule_sees_its_slot_also_when_it_begins_again() -> None:
    seen: list[FiredSlot | None] = []

    @workflow(name="nightly", version="1")
    async def nightly(run: WorkflowRun) -> None:
        seen.append(run.schedule)
        await slow.run(run, 1)

    async def main() -> None:
        world = World(nightly)
        world.options = RunOptions(fired=Fired(schedule="reports", slot=1_700_000_000_000_001, last_completed=0))
        other = World(nightly)
        await world.finish()
        other.journal, other.options = list(world.journal), world.options
        await other.finish()

    simulate(main())
    slot, last = datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
    assert seen == [FiredSlot("reports", slot, last)] * 2


def test_a_run_that_no_schedule_has_fired_sees_none() -> None:
    seen: list[FiredSlot | None] = []

    @workflow(name="by-hand", version="1")
    async def by_hand(run: WorkflowRun) -> None:
        seen.append(run.schedule)

    run(by_hand)
    assert seen == [None]
