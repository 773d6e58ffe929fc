"""A body goes the same way through sets of futures, tasks and scopes in each of its lives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from aiki.core.retry import Retry
from aiki.core.states import State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution.loop import RunLoop
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

BRANCHES = 24
Body = Callable[[WorkflowRun, list[object]], Coroutine[Any, Any, Any]]
tickets = itertools.count()
kept: list[object] = []
"""Holds on to what lies between the objects of two lives, so that addresses differ."""


@task(retry=Retry.none())
async def draw() -> int:
    """All branches ask for it with the same input: who asks first gets the first ticket."""
    await asyncio.sleep(0.01)
    return next(tickets)


@task(retry=Retry.none())
async def work(name: int) -> int:
    await asyncio.sleep(1000)
    return name


@task
async def strike() -> None:
    await asyncio.sleep(1)


def end_of(body: Body) -> End:
    @workflow(name="body", version="1")
    async def flow(run: WorkflowRun) -> None:
        await body(run, [])

    async def main() -> End:
        return await World(flow).finish()

    return simulate(main())


def lives(body: Body) -> tuple[list[object], list[object]]:
    """Run the body until it sleeps for long, forget it, and run it again; return what it has seen each time."""
    traces: list[list[object]] = []

    @workflow(name="body", version="1")
    async def flow(run: WorkflowRun) -> None:
        traces.append([])
        kept.append([asyncio.Event() for _ in range(random.randint(1, 100))])
        await body(run, traces[-1])
        await run.sleep("1h")

    async def main() -> None:
        world = World(flow)
        for _ in range(2):
            kept.append([object() for _ in range(random.randint(1, 1000))])
            world.claim()
            await world.settle()
            assert world.state is State.SLEEPING, world.end and (world.end.why or bytes(world.end.error))
            world.wake()

    simulate(main())
    first, second = traces
    return first, second


class Awaitable:
    """What is neither a coroutine nor a future, and can be awaited."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.coroutine.__await__()


async def branch(run: WorkflowRun, seen: list[object], name: int) -> str:
    seen.append((name, ticket := await draw.run(run)))
    return f"{name}: {ticket}"


async def walks_gathers(run: WorkflowRun, seen: list[object]) -> None:
    done, _ = await asyncio.wait([asyncio.gather(draw.run(run)) for _ in range(BRANCHES)])
    seen += [one.result() for one in done]


async def walks_shields(run: WorkflowRun, seen: list[object]) -> None:
    done, _ = await asyncio.wait([asyncio.shield(draw.run(run)) for _ in range(BRANCHES)])
    seen += [one.result() for one in done]


async def walks_futures(run: WorkflowRun, seen: list[object]) -> None:
    made: list[asyncio.Future[Any]] = [asyncio.get_running_loop().create_future() for _ in range(BRANCHES)]
    seen += [made.index(one) for one in set(made)]


async def walks_a_mixture(run: WorkflowRun, seen: list[object]) -> None:
    pending: set[asyncio.Future[Any]] = {asyncio.create_task(branch(run, seen, n)) for n in range(BRANCHES)}
    pending |= {asyncio.gather(draw.run(run), draw.run(run)) for _ in range(BRANCHES)}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        seen += [one.result() for one in done]
        if pending:
            pending.pop().cancel()


async def completes_coroutines(run: WorkflowRun, seen: list[object]) -> None:
    seen += [await first for first in asyncio.as_completed([branch(run, seen, n) for n in range(BRANCHES)])]


async def completes_tasks(run: WorkflowRun, seen: list[object]) -> None:
    tasks = [asyncio.create_task(branch(run, seen, n)) for n in range(BRANCHES)]
    seen += [await first for first in asyncio.as_completed(tasks)]


async def cancels_nested_scopes(run: WorkflowRun, seen: list[object]) -> None:
    async def undoes(name: int) -> None:
        with anyio.CancelScope():
            try:
                await work.run(run, name)
            finally:
                with anyio.CancelScope(shield=True):
                    await branch(run, seen, name)

    async with anyio.create_task_group() as group:
        for name in range(BRANCHES):
            group.start_soon(undoes, name)
        await strike.run(run)
        group.cancel_scope.cancel()


async def fails_in_a_group(run: WorkflowRun, seen: list[object]) -> None:
    async def undoes(name: int) -> None:
        try:
            await work.run(run, name)
        finally:
            await branch(run, seen, name)

    async def fails() -> None:
        await strike.run(run)
        raise ValueError

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for name in range(BRANCHES):
                group.create_task(undoes(name))
            group.create_task(fails())


@pytest.mark.parametrize(
    "body",
    [
        walks_gathers,
        walks_shields,
        walks_futures,
        walks_a_mixture,
        completes_coroutines,
        completes_tasks,
        cancels_nested_scopes,
        fails_in_a_group,
    ],
)
def test_a_body_goes_the_same_way_in_each_life(body: Body) -> None:
    first, second = lives(body)
    assert len(first) >= BRANCHES // 2
    assert first == second


def test_as_completed_starts_the_branches_of_a_list_in_its_order() -> None:
    async def body(run: WorkflowRun, seen: list[object]) -> None:
        async def says(name: int) -> None:
            seen.append(name)

        for first in asyncio.as_completed([says(name) for name in range(BRANCHES)]):
            await first

    assert lives(body)[0] == list(range(BRANCHES))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    "given",
    [
        lambda branches: [Awaitable(one) for one in branches],
        iter,
        set,
        lambda branches: [asyncio.create_task(branches[0]), *branches[1:]],
    ],
    ids=["awaitables", "iterator", "set", "mixture"],
)
def test_as_completed_refuses_what_has_lost_its_order_and_says_how_to_write_it(given: Callable[[Any], Any]) -> None:
    async def body(run: WorkflowRun, seen: list[object]) -> None:
        await next(iter(asyncio.as_completed(given([branch(run, seen, n) for n in range(3)]))))

    text = bytes(end_of(body).error).decode()
    gc.collect()  # what was never awaited is told here, where that is no error
    assert '"type":"UsageError"' in text
    assert "as_completed() in a workflow body takes a list of coroutines, or tasks" in text
    assert "asyncio.create_task(" in text


def test_a_task_factory_is_refused_in_a_body() -> None:
    async def body(run: WorkflowRun, seen: list[object]) -> None:
        asyncio.get_running_loop().set_task_factory(None)

    assert "set_task_factory() cannot be used in a workflow body" in bytes(end_of(body).error).decode()


@pytest.mark.parametrize("seed", range(20))
def test_a_set_of_futures_iterates_like_one_of_numbers_whatever_was_removed(seed: int) -> None:
    choose = random.Random(seed)
    loop = RunLoop(0, salt=seed << 20, on_problem=print)  # type: ignore[abstract]  # refused methods are added by name
    futures = [loop.create_future() for _ in range(300)]
    mine: set[asyncio.Future[Any]] = set()
    numbers: set[int] = set()
    for _ in range(2000):
        one = choose.choice(futures)
        if choose.random() < 0.6:
            mine.add(one)
            numbers.add(hash(one))
        else:
            mine.discard(one)
            numbers.discard(hash(one))
    assert [hash(one) for one in mine] == list(numbers)
    assert len({hash(one) for one in futures}) == len(futures)


def test_outside_of_a_body_a_gather_hashes_by_its_address_as_ever() -> None:
    async def main() -> None:
        gathered = asyncio.gather(asyncio.sleep(0))
        assert hash(gathered) == object.__hash__(gathered)
        await gathered

    asyncio.run(main())
