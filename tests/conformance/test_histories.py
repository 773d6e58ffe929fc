"""Histories that nobody has thought of are told alike by both engines.

`AIKI_HISTORIES=2000` plays so many, a batch at a time; a difference is shrunk, and both stories are shown.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.histories import Batch, batches, play
from tests.conformance.ids import made_by
from tests.conformance.memory import memory_stage
from tests.conformance.programs import story
from tests.conformance.servers import House
from tests.conformance.stage import Stage
from tests.conformance.story import Told, difference, told

pytestmark = pytest.mark.anyio

PLAYS: Final = 3
"""On servers what happens at one moment may happen in several orders: one of them is that in memory."""
COUNT: Final = int(os.environ.get("AIKI_HISTORIES") or 20)
SIZE: Final = min(COUNT, 25)
"""Of a batch: what takes its time on servers is that nothing moves any more, whoever waits for that. Of many more
Hypothesis draws none: it bounds how much it draws for one example.
"""


@pytest.mark.timeout(0)
@settings(
    max_examples=1 + COUNT // SIZE,  # the first is the simplest there is
    deadline=None,
    database=None,
    derandomize="AIKI_HISTORIES" not in os.environ,
    phases=[Phase.generate] if "AIKI_NO_SHRINK" in os.environ else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(batch=batches(SIZE))
async def test_both_engines_tell_one_story_of_histories(batch: Batch, servers: House) -> None:
    if differs := await differences(batch, servers):
        pytest.fail("\n\n".join(["the engines tell two stories", *differs]), pytrace=False)
    print(f"{len(batch.histories)} histories alike", flush=True)


async def differences(batch: Batch, servers: House) -> list[str]:
    """Return the histories of which the engines do not tell one story, each with both."""
    memory = by_history(batch, await played(batch, None))
    found: dict[int, str] = {}
    for _ in range(PLAYS):
        real = by_history(batch, await played(batch, servers))
        differing = [one for one in batch.histories if real[one.number] != memory[one.number]]
        found = {
            one.number: f"{one}\n" + difference(real[one.number], memory[one.number], names=("aikid", "in memory"))
            for one in differing
        }
        if not found:
            break
        batch = Batch(batch.passing, differing)
    return [f"while time passes: {batch.passing}", *found.values()] if found else []


async def played(batch: Batch, servers: House | None) -> Told:
    """Return what a batch has come to on servers, or in memory."""
    with made_by("nobody"):
        async with memory_stage([story]) if servers is None else servers.stage("histories", [story]) as stage:
            return await _told(batch, stage)


async def _told(batch: Batch, stage: Stage) -> Told:
    answers = await play(batch, stage)
    await stage.settle()
    return await told(stage.client, answers)


def by_history(batch: Batch, whole: Told) -> dict[int, Told]:
    """Return what each history has come to."""
    return {
        one.number: Told(
            [answer for answer in whole.answers if answer.startswith(f"{one.number} ")],
            {name: lines for name, lines in whole.runs.items() if whole.labels[name].get("history") == str(one.number)},
        )
        for one in batch.histories
    }
