"""What people write with asyncio and anyio ends alike straight through, killed anywhere, and out of memory between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiki.core.states import Move
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import Limits
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution import patterns_of_branches, patterns_of_scopes
from tests.unit.execution.pattern import Body
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

PATTERNS = [*patterns_of_scopes.PATTERNS, *patterns_of_branches.PATTERNS]
LONGEST = 120.0
"""Seconds of the run's time that each pattern stays under: one that waits for an outcome it gave up takes 300."""

patterns = pytest.mark.parametrize(
    ("body", "expected"), [pytest.param(*pattern, id=pattern[0].__name__) for pattern in PATTERNS]
)


def flow_of(body: Body) -> Workflow[[], Any]:
    @workflow(name="pattern", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    return flow


async def ends(world: World) -> Any:
    """Finish the run; return its output, when it took no longer than its timers and went round for nothing."""
    end = await world.finish()
    assert end.move is Move.COMPLETE, bytes(end.error).decode()
    assert [entry.key for entry in world.journal if entry.turns is not None] == []
    assert world.now() - world.started < LONGEST * 1_000_000
    return json.loads(bytes(end.output))


@patterns
def test_a_pattern_ends_straight_through(body: Body, expected: Any) -> None:
    async def main() -> Any:
        return await ends(World(flow_of(body)))

    assert simulate(main()) == expected


@patterns
def test_a_pattern_ends_alike_when_its_worker_is_killed_after_any_entry(body: Body, expected: Any) -> None:
    async def kills_after(entries: int) -> bool:
        world = World(flow_of(body), limits=Limits(linger_seconds=LONGEST))
        world.claim()
        await world.settle(until=lambda: len(world.journal) >= entries)
        if world.execution is None:
            return False
        world.crash()
        assert await ends(world) == expected, f"killed after {entries} entries"
        return True

    async def main() -> None:
        entries = 1
        while await kills_after(entries):
            entries += 1

    simulate(main())


@patterns
def test_a_pattern_ends_alike_when_its_run_leaves_memory_at_each_wait(body: Body, expected: Any) -> None:
    async def main() -> Any:
        return await ends(World(flow_of(body), limits=Limits(linger_seconds=0)))

    assert simulate(main()) == expected
