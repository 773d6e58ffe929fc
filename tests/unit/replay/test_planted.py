"""Changes of code that are planted: of a run at each point of its life, and of one that has ended, each is judged."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from aiki.definitions.workflow import Workflow
from aiki.replay import Finding, Recording, Verdict, replay
from aiki.testing import TestEnv
from tests.unit.replay import planted
from tests.worlds.recordings import cut_at

pytestmark = pytest.mark.anyio
SIGNS = {
    Finding.COMPATIBLE: "=",
    Finding.DIVERGES: "x",
    Finding.DIFFERENTLY: "~",
    Finding.UNKNOWN: "?",
}
_recorded: list[Recording] = []


@pytest.fixture
async def points() -> list[Recording]:
    """The run of `order` at each point of its life, and when it has ended."""
    if not _recorded:
        async with TestEnv() as env:
            handle = await env.enqueue(planted.order, "o-1", 4200)
            await env.advance("10m")
            await handle.send(planted.approved, "alice")
            assert await handle.result() == "o-1 ch-4200-eur alice True True"
            (ended,) = [one async for one in env.client.runs.export([handle.run_id])]
        assert len(ended.entries) == 5
        _recorded.extend([*(cut_at(ended, length) for length in range(5)), ended])
    return _recorded


def on(new: Workflow[..., Any], points: list[Recording]) -> list[Verdict]:
    return replay(points, [new, planted.charge_as_child])


@cache
def on_itself() -> Workflow[..., Any]:
    return planted.order


async def test_a_run_is_compatible_with_its_own_code_at_each_point(points: list[Recording]) -> None:
    assert [one.finding for one in on(on_itself(), points)] == [Finding.COMPATIBLE] * 6


@pytest.mark.parametrize("name", planted.CHANGES)
async def test_each_change_is_found_where_it_matters(name: str, points: list[Recording]) -> None:
    new, expected = planted.CHANGES[name]
    verdicts = on(new, points)
    told = "\n".join(f"{SIGNS[one.finding]} {one.why} at {one.place}" for one in verdicts)
    assert "".join(SIGNS[one.finding] for one in verdicts) == expected, told
    for one in verdicts:
        assert bool(one.why) is (one.finding is not Finding.COMPATIBLE), one
        if one.finding in (Finding.DIVERGES, Finding.DIFFERENTLY):
            assert one.place is not None
            assert one.place.file == planted.__file__, one


def test_the_changes_are_as_many_as_they_ought_to_be() -> None:
    assert len(planted.CHANGES) >= 25
