"""Each scenario is told alike by both engines, and ends as it says itself."""

from __future__ import annotations

from typing import Final

import pytest

from tests.conformance.ids import made_by
from tests.conformance.memory import memory_stage
from tests.conformance.scenarios import (  # noqa: F401 - they are scenarios
    cancels,
    control,
    crashes,
    events,
    exports,
    families,
    keys,
    onward,
    rerouting,
    retrying,
    schedules,
    sharing,
    tasks,
    timers,
)
from tests.conformance.servers import House
from tests.conformance.stage import SCENARIOS, Scenario, Stage
from tests.conformance.story import Told, difference, told

pytestmark = pytest.mark.anyio
PLAYS: Final = 3
"""On servers what happens at one moment may happen in several orders: what differs is played again."""


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
async def test_both_engines_tell_one_story(one: Scenario, servers: House, namespace: str) -> None:
    with made_by(one.name):
        async with memory_stage(one.workflows) as stage:
            memory = await played(one, stage)
    differs = ""
    for _ in range(PLAYS):
        with made_by(one.name):
            async with servers.stage(namespace, one.workflows) as stage:
                real = await played(one, stage)
        if not (differs := difference(real, memory, names=("aikid", "in memory"))):
            return
    pytest.fail(f"the engines tell two stories\n{differs}", pytrace=False)


async def played(one: Scenario, stage: Stage) -> Told:
    """Return what a scenario has come to. What has come until then is shown where it fails."""
    try:
        answers = await one.play(stage)
        await stage.settle()
    except BaseException:
        print(*(await told(stage.client, None)).lines(), sep="\n")
        raise
    whole = await told(stage.client, answers)
    return whole if one.is_timed else Told(whole.answers, {})
