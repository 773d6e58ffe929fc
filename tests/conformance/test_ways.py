"""Each scenario ends as it says itself in the ways of a `TestEnv`, too: all in memory, or replayed at each outcome."""

from __future__ import annotations

import pytest

from aiki.execution import Limits
from aiki.testing.ways import LEAVING, STAYING
from tests.conformance.ids import made_by
from tests.conformance.memory import memory_stage
from tests.conformance.stage import SCENARIOS, Scenario
from tests.conformance.test_scenarios import played

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def a_loop(anyio_backend: str) -> None:
    """Have all scenarios share a loop: what they wait on is made once."""


@pytest.mark.parametrize(("limits", "replays"), [(STAYING, False), (LEAVING, True)], ids=["staying", "replaying"])
@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
async def test_a_scenario_ends_alike_however_its_runs_are_executed(
    one: Scenario, limits: Limits, replays: bool, a_loop: None
) -> None:
    with made_by(one.name):
        async with memory_stage(one.workflows, limits=limits, replays=replays) as stage:
            await played(one, stage)
