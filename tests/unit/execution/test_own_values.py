"""What a run has of its own: its time, its random numbers, its log."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, run, slow


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
