"""Runs of scenarios and of drawn histories, exported where each ends, are compatible with the code that they ran on.

`AIKI_HISTORIES=2000` plays so many histories, a batch at a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings

from aiki import RunFilter, State, Workflow
from aiki.replay import Finding, replay
from tests.conformance.histories import Batch, batches, play
from tests.conformance.ids import made_by
from tests.conformance.memory import memory_stage
from tests.conformance.programs import story
from tests.conformance.servers import House
from tests.conformance.stage import SCENARIOS, Scenario, Stage
from tests.conformance.test_scenarios import played

pytestmark = pytest.mark.anyio

COUNT: Final = int(os.environ.get("AIKI_HISTORIES") or 20)
SIZE: Final = min(COUNT, 25)
FROM_SERVERS: Final = ("exports", "families", "cancels", "retrying")
"""Modules of scenarios whose runs are read from servers, too."""


CHANGED: Final = ("changed",)
"""Workflows whose code is another one at the end of their scenarios."""


async def check(stage: Stage, workflows: Sequence[Workflow[..., Any]]) -> int:
    """Replay all runs of the stage; return how many they are."""
    everything = RunFilter(states=list(State))
    recordings = [one async for one in stage.client.runs.export(everything)]
    known = {(one.name, one.version) for one in workflows}
    for one in replay(recordings, workflows):
        if (one.workflow, one.version) not in known or one.workflow in CHANGED:
            continue
        if one.state in (State.FAILED, State.CANCELLED) and one.why.startswith("needs what is gone"):
            continue  # its retry has taken the ends of its children along
        told = [f"{each.key} {bytes(each.value)!r}" for each in _of(recordings, one.run_id)]
        assert one.finding is Finding.COMPATIBLE, (one, told)
    return len(recordings)


def _of(recordings: Sequence[Any], run_id: str) -> Any:
    return next(one.entries for one in recordings if one.run_id == run_id)


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
async def test_no_run_of_a_scenario_alarms_in_memory(one: Scenario) -> None:
    with made_by(one.name):
        async with memory_stage(one.workflows) as stage:
            await played(one, stage)
            await check(stage, one.workflows)


@pytest.mark.parametrize(
    "one", [one for one in SCENARIOS if one.play.__module__.endswith(FROM_SERVERS)], ids=lambda one: one.name
)
async def test_no_run_of_a_scenario_alarms_on_servers(one: Scenario, servers: House, namespace: str) -> None:
    with made_by(one.name):
        async with servers.stage(namespace, one.workflows) as stage:
            await played(one, stage)
            await check(stage, one.workflows)


@pytest.mark.timeout(0)
@settings(
    max_examples=1 + COUNT // SIZE,
    deadline=None,
    database=None,
    derandomize="AIKI_HISTORIES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(batch=batches(SIZE))
async def test_no_run_of_a_history_alarms(batch: Batch) -> None:
    with made_by("nobody"):
        async with memory_stage([story]) as stage:
            await play(batch, stage)
            await stage.settle()
            assert await check(stage, [story]) >= 1
