"""What comes while a run leaves memory, is given back or crashes: nothing of it is lost, and nothing slept over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Unit
from tests.unit.execution.replays import again, output, slow
from tests.unit.execution.telling import approved, at, says, told, unread, voted, votes
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

LEAVES = Limits(linger_seconds=0)


def test_an_event_that_overtakes_the_park_is_not_lost() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    def before(world: World) -> Callable[[Unit], None]:
        def look(unit: Unit) -> None:
            if unit.end is not None and unit.end.move is Move.WAIT and not world.inbox.arrivals:
                world.send(approved.bind("x"))

        return look

    async def forced(world: World) -> None:
        world.deafness = 1
        world.before_record = before(world)

    world = told(body, before=forced)
    assert (output(world), world.refused_parks, world.epoch) == ('"x"', 1, 1)


@pytest.mark.parametrize("linger", [0, 10], ids=["with its slot", "without"])
def test_a_run_whose_park_is_refused_keeps_the_retry_that_it_waits_for(linger: float) -> None:
    tries: list[int] = []

    @task(retry=Retry.fixed(2, "60s"))
    async def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("again")
        return "done"

    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(flaky.run(run), run.wait_for(approved)))

    async def forced(world: World) -> None:
        def look(unit: Unit) -> None:
            if unit.end is not None and unit.end.move is Move.WAIT and not world.inbox.arrivals:
                world.send(voted.bind(1))

        world.deafness = 1
        world.before_record = look

    world = told(body, at((80, says("x"))), before=forced, limits=Limits(linger_seconds=linger))
    assert (output(world), world.refused_parks) == ('["done","x"]', 1)
    assert world.epoch <= 3


def test_a_crash_between_delivery_and_commit_leaves_the_event_unread() -> None:
    @workflow(name="crashes", version="1")
    async def crashes(run: WorkflowRun) -> str:
        got = await run.wait_for(approved)
        await slow.run(run, 1)
        return got

    async def main() -> World:
        world = World(crashes)
        world.send(approved.bind("x"))
        world.claim()
        world._pending = None  # the unit is lost with its worker
        assert world.execution is not None
        world.crash()
        assert unread(world) == [b'"x"']
        await world.finish()
        return world

    world = simulate(main())
    assert output(world) == '"x"'
    assert output(again(world)) == '"x"'


def test_draining_parks_a_run_that_waits() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        world.claim().drain()
        await world.settle()
        parked = world.state
        world.send(approved.bind("x"))
        assert (parked, world.state) == (State.WAITING, State.QUEUED)
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


def test_a_run_that_may_not_leave_while_its_worker_drains_is_given_back() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        world.deafness = 1
        execution = world.claim()
        world.send(approved.bind("x"))
        execution.drain()
        await world.settle()
        assert (world.refused_parks, world.ends) == (1, [Move.RELEASE])
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


def test_a_run_that_waits_for_a_slot_to_take_an_event_is_given_back_when_its_worker_drains() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        execution = world.claim()
        await world.settle(until=lambda: world.lingered == 1)
        world.wants_slot = lambda run: execution.drain()  # type: ignore[method-assign]  # no slot is free
        world.send(approved.bind("x"))
        await world.settle()
        assert world.ends == [Move.RELEASE]
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


def test_a_pause_is_carried_out_though_its_run_has_more_to_read_than_one_page_brings() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits, page_length=1)
        world.deafness = 1
        for number in range(3):
            world.send(voted.bind(number))
        world.claim()
        world.pause()
        await world.settle()
        assert (world.state, world.inbox.news) == (State.PAUSED, 4)

    simulate(main())


def test_a_run_parks_no_more_before_it_has_read_what_its_park_was_refused_for() -> None:
    async def body(run: WorkflowRun) -> None:
        await slow.run(run, 1)
        await run.sleep("60s")

    async def forced(world: World) -> None:
        world.deafness = 1

    world = told(body, at(*[(0.5, votes(n)) for n in range(5)]), before=forced, page_length=1, limits=LEAVES)
    assert world.refused_parks == 1
