"""Each scenario is told alike by both engines, and ends as it says itself."""

from __future__ import annotations

from typing import Any

import pytest

from aiki.client import run_ids
from tests.conformance.conftest import Sown
from tests.conformance.scenarios import (  # noqa: F401 - they are scenarios
    cancels,
    control,
    crashes,
    events,
    families,
    keys,
    onward,
    retrying,
    tasks,
    timers,
)
from tests.conformance.servers import House
from tests.conformance.stage import SCENARIOS, Scenario, Stage
from tests.conformance.story import Story, stories

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
async def test_both_engines_tell_one_story(
    one: Scenario, servers: House, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_ids, "secrets", Sown(one.name))
    async with servers.stage(namespace, one.workflows, slots=one.slots) as stage:
        await played(one, stage)


async def played(one: Scenario, stage: Stage) -> tuple[Any, dict[str, Story]]:
    """Return what a scenario's play was answered, and what its runs have come to."""
    try:
        answers = await one.play(stage)
        await stage.settle()
    except BaseException:
        for story in (await stories(stage.client)).values():
            print(*story, sep="\n    ")  # what pytest shows of a failure
        raise
    return answers, await stories(stage.client)
