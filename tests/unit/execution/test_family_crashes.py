"""Parents that lose their worker around each commit: every child is started once, and nothing is waited for in vain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import ChildFailed
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Recorded, Unit
from tests.unit.execution.families import approved as told
from tests.unit.execution.families import breaks, children, grown, hears, raised, sleeper, square
from tests.unit.execution.replays import double, output
from tests.worlds.world import World

STEPS = 9


async def body(run: WorkflowRun) -> list[Any]:
    """Come by everything that a body can do with children."""
    await sleeper.options(parent_close="wait").start(run, 30, "last")
    keyed = await square.options(idempotency_key="k").start(run, 3)
    hearer, failing = await hears.start(run), await breaks.start(run, "no")
    doubled, _ = await asyncio.gather(double.run(run, 4), hearer.send(told, "hello"))
    squares = await run.all([keyed, await square.start(run, 5)])
    stopped = await sleeper.start(run, 1_000)
    await stopped.cancel()
    seen = [doubled, *squares, await hearer.result()]
    for child in (failing, stopped):
        try:
            await child.result()
        except ChildFailed as error:
            seen.append(error.state)
    return [*seen, await sleeper.run(run, 100, "far")]  # it leaves memory for that one


RESULT = '[8,9,25,"hello","failed","cancelled","far"]'


def crashing(number: int, *, lost: bool) -> tuple[float, Any]:
    """Return what has the worker die with its unit of this number, which is written or lost with it."""

    def arm(world: World) -> None:
        def at(unit: Unit) -> Recorded | None:
            if len(world.units) == number and not done:
                done.append(unit)
                if not lost:
                    world.write(unit)
                world.crash()
                return Recorded("fenced")
            return None

        done: list[Unit] = []
        world.before_record = at

    return 0, arm


def test_a_family_lives_as_it_replays() -> None:
    world = grown(body)
    assert (output(world), len(children(world)), len(world.units)) == (RESULT, 7, STEPS)


@pytest.mark.parametrize("lost", [False, True], ids=["its commit stood", "its commit was lost"])
@pytest.mark.parametrize("number", range(STEPS))
def test_a_parent_that_loses_its_worker_with_any_unit_starts_each_child_once(number: int, lost: bool) -> None:
    world = raised(body, crashing(number, lost=lost))
    assert output(world) == RESULT
    started = [start.id for unit in world.units for start in unit.starts]
    assert (len({*started}), len(children(world))) == (7, 7)
    ends = [number for entry in world.journal for number in entry.takes]
    assert len(ends) == len({*ends})
