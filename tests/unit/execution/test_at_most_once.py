"""At-most-once tasks that did not begin: what their worker knows of it is on record, and the next claim begins them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiki.core.errors import TaskFailed, TaskOutcomeUnknown
from aiki.core.states import Move, State
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits, Pools
from aiki.execution.tasks.processes import Processes
from aiki.execution.tasks.threads import Threads
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import NULL
from tests.unit.execution.brink_tasks import once_in_coroutine, once_in_process, once_in_thread, words
from tests.unit.execution.calling import Flaky, calling, finish
from tests.waiting import wait_until
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

chosen: list[Task[Any, Any]] = []


@workflow
async def once(run: WorkflowRun, path: str) -> str:
    try:
        await chosen[0].run(run, path, 0)
    except TaskOutcomeUnknown:
        return "unknown"
    return "done"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "words")


def world_of(of: Task[Any, Any], path: str, **options: Any) -> World:
    chosen[:] = [of]
    return World(once, f'{{"path":"{path}"}}'.encode(), **options)


def drain(world: World) -> None:
    assert world.execution is not None
    world.execution.drain()


def stop(world: World) -> None:
    assert world.execution is not None
    world.execution.stop()


@pytest.mark.parametrize("of", [once_in_thread, once_in_process], ids=["thread", "process"])
@pytest.mark.parametrize("cut", [drain, stop, World.crash])
def test_one_that_waits_for_its_thread_or_child_is_not_on_record(
    of: Task[Any, Any], cut: Callable[[World], None], path: str
) -> None:
    pools = Pools(threads=Threads(1), processes=Processes(1))
    release = threading.Event()

    def hold() -> None:
        release.wait()

    async def main() -> None:
        pools.threads.submit(hold)
        pools.processes.threads.submit(hold)
        world = world_of(of, path, pools=pools)
        execution = world.claim()
        assert execution._attempts.running
        cut(world)
        await world.settle()
        assert world.attempts == []
        release.set()
        end = await world.finish()
        assert bytes(end.output) == b'"done"'

    asyncio.run(main())
    pools.close()
    assert words(path) == ["body"]


@pytest.mark.parametrize(
    "of", [once_in_coroutine, once_in_thread, once_in_process], ids=["coroutine", "thread", "child"]
)
@pytest.mark.parametrize("cut", [drain, stop])
def test_one_whose_announcement_is_under_way_is_taken_back(
    of: Task[Any, Any], cut: Callable[[World], None], path: str
) -> None:
    pools = Pools(threads=Threads(1), processes=Processes(1))

    async def main() -> None:
        world = world_of(of, path, pools=pools, latency=(0.1,))
        execution = world.claim()
        await wait_until(lambda: execution._outbox.sent, what="the announcement")
        cut(world)
        await world.settle()
        assert world.ends == [Move.RELEASE]
        assert [(row.attempt, b"NotStarted" in bytes(row.error)) for row in world.attempts] == [(1, True)]
        end = await world.finish()
        assert bytes(end.output) == b'"done"'
        assert [row.attempt for row in world.attempts] == [1, 2]

    asyncio.run(main())
    pools.close()
    assert words(path) == ["body"]


@pytest.mark.parametrize("cut", [None, drain, stop])
@pytest.mark.parametrize(
    "of", [once_in_coroutine, once_in_thread, once_in_process], ids=["coroutine", "thread", "child"]
)
def test_one_that_was_announced_before_a_cut_off_begins_or_is_taken_back(
    of: Task[Any, Any], cut: Callable[[World], None] | None, path: str
) -> None:
    """The lease becomes uncertain between the announcement and the body, and then certain again: it was not lost."""
    pools = Pools(threads=Threads(1), processes=Processes(1))

    async def main() -> None:
        world = world_of(of, path, pools=pools, limits=Limits(lease_poll_seconds=0.01), latency=(0.1,))
        execution = world.claim()
        await wait_until(lambda: execution._outbox.sent, what="the announcement")
        world.lease.certain_until = 0.0
        await wait_until(lambda: execution._outbox.durable)
        await wait_until(lambda: execution._attempts.uncertain)
        assert words(path) == []
        if cut is not None:
            cut(world)
            await world.settle()
        world.lease.certain_until = math.inf
        end = await world.finish()
        assert bytes(end.output) == b'"done"'

    asyncio.run(main())
    pools.close()
    assert words(path) == ["body"]


def test_none_is_announced_while_the_lease_is_uncertain(path: str) -> None:
    async def main() -> None:
        world = world_of(once_in_coroutine, path)
        world.lease.certain_until = 0.0
        world.claim()
        await asyncio.sleep(60)
        assert world.attempts == []
        world.lease.certain_until = math.inf
        end = await world.finish()
        assert [(row.attempt, row.error) for row in world.attempts] == [(1, NULL)]
        assert bytes(end.output) == b'"done"'

    simulate(main())


@pytest.mark.parametrize(("begins", "expected"), [(True, b'"unknown"'), (False, b'"done"')])
def test_one_that_was_abandoned_begins_once_more_only_if_it_had_not(*, begins: bool, expected: bytes) -> None:
    """A body leaves it at a timeout, and asks for it again by its idempotency key."""
    begun: list[int] = []

    @task(at_most_once=True)
    async def pay() -> None:
        begun.append(1)
        await asyncio.sleep(5 if len(begun) == begins else 0)

    @workflow(name="asks-again", version="1")
    async def asks_again(run: WorkflowRun) -> str:
        keyed = pay.options(idempotency_key="k")
        try:
            await asyncio.wait_for(keyed.run(run), 2)
        except TimeoutError:
            worlds[0].lease.certain_until = math.inf
        try:
            await keyed.run(run)
        except TaskOutcomeUnknown:
            return "unknown"
        return "done"

    async def main() -> None:
        world = World(asks_again)
        worlds.append(world)
        execution = world.claim()
        if not begins:
            await wait_until(lambda: execution._outbox.sent, what="the announcement")
            world.lease.certain_until = 0.0
        await world.settle()

    worlds: list[World] = []
    simulate(main())
    end = worlds[0].end
    assert end is not None
    assert bytes(end.output) == expected
    assert len(begun) == 1


# -- with virtual time


def test_the_start_of_an_at_most_once_task_is_durable_before_it_starts() -> None:
    flaky = Flaky(at_most_once=True)
    world, output = finish(calling(flaky.task))
    assert output == '["done"]'
    assert [(row.attempt, row.error) for row in world.units[0].attempts] == [(1, NULL)]


def test_an_at_most_once_task_whose_worker_died_in_it_is_not_started_again() -> None:
    starts: list[int] = []

    @task(at_most_once=True)
    async def pay() -> None:
        starts.append(1)
        await asyncio.sleep(100)

    kinds: list[type] = []

    @workflow(name="pays", version="1")
    async def pays(run: WorkflowRun) -> None:
        try:
            await pay.run(run)
        except TaskFailed as error:
            kinds.append(type(error))

    async def main() -> World:
        world = World(pays)
        world.claim()
        await asyncio.sleep(1)
        world.crash()
        await world.finish()
        return world

    world = simulate(main())
    assert starts == [1]
    assert kinds == [TaskOutcomeUnknown]
    assert world.state is State.COMPLETED


def test_an_at_most_once_task_that_failed_is_not_tried_again() -> None:
    flaky = Flaky(ValueError("v"), at_most_once=True)
    assert finish(calling(flaky.task))[1] == '["TaskFailed","ValueError","v",1]'


def test_an_announced_task_that_was_stopped_before_it_began_begins_at_the_next_claim() -> None:
    flaky = Flaky(at_most_once=True)

    async def main() -> World:
        world = World(calling(flaky.task), latency=(1.0,))
        world.claim()
        assert world.execution is not None
        world.execution.stop()
        await world.finish()
        return world

    world = simulate(main())
    assert world.ends == [Move.RELEASE, Move.COMPLETE]
    assert len(flaky.tries) == 1
