"""Runs that go on as new, with random bodies, events, crashes and lost words: nothing is lost, and each replays.

`AIKI_FUZZ_RUNS` (default 60) chooses how many, `AIKI_FUZZ_SEED` with which.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from aiki.core.errors import EventTimeout
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

RUNS = int(os.environ.get("AIKI_FUZZ_RUNS", "60"))
FIRST = int(os.environ.get("AIKI_FUZZ_SEED", "1"))
GENERATIONS, EVENTS = 6, 8
voted = Event("voted", type=int)


@task
async def work(number: int) -> int:
    await asyncio.sleep(number % 3 / 10)
    return number


async def listen(run: WorkflowRun, heard: list[int]) -> None:
    with suppress(EventTimeout):
        heard.append(await run.wait_for(voted, timeout=f"{1 + int(run.random() * 900)}ms"))


async def step(run: WorkflowRun, number: int, heard: list[int]) -> None:
    match int(run.random() * 5):
        case 0:
            await work.run(run, number)
        case 1:
            await run.sleep(f"{1 + int(run.random() * 15_000)}ms")
        case 2:
            await listen(run, heard)
        case 3:
            await asyncio.gather(listen(run, heard), work.run(run, number), listen(run, heard))
        case _:
            assert run.patched(f"p{number}")


async def go_on(run: WorkflowRun, left: int, heard: list[int]) -> None:
    async def branch() -> None:
        await work.run(run, 7)
        roams.continue_as_new(run, left, heard)

    if run.random() < 0.3:
        await asyncio.gather(branch(), asyncio.Event().wait())
    if run.random() < 0.3:
        async with asyncio.TaskGroup() as group:
            group.create_task(branch())
    roams.continue_as_new(run, left, heard)


@workflow(name="roams", version="1")
async def roams(run: WorkflowRun, left: int, heard: list[int]) -> list[int]:
    for number in range(int(run.random() * 5)):
        await step(run, number, heard)
    if left:
        try:
            await go_on(run, left - 1, heard)
        finally:
            if run.random() < 0.3:
                await work.run(run, 9)
    while len(heard) < EVENTS:
        heard.append(await run.wait_for(voted))
    return heard


async def live(seed: int) -> World:
    """Live the run to its end, spoken to and crashed at random."""
    draw = random.Random(seed)
    world = World(roams, b'{"left":%d,"heard":[]}' % GENERATIONS, seed=seed, latency=(0.001, 0.02, 0.3))
    world.deafness = draw.choice([0.0, 0.5, 1.0])

    async def speak() -> None:
        for number in range(EVENTS):
            await asyncio.sleep(draw.random() * 4)
            world.send(voted.bind(number))

    async def crash() -> None:
        while draw.random() < 0.8:
            await asyncio.sleep(draw.random() * 5)
            if world.execution is not None:
                world.crash()

    over = asyncio.create_task(world.finish())
    await asyncio.gather(speak(), crash(), over)
    return world


async def replayed(world: World, generation: int) -> World:
    """Replay a generation that was left from what it has recorded."""
    input, journal = world.left[generation]
    other = World(roams, input)
    other.journal = list(journal)
    other.inbox.begin_as(world.inbox)
    other.standing = replace(other.standing, generation=generation, news=world.standing.news)
    other.claim()
    await other.settle()
    return other


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS, 10))
def test_no_event_and_no_generation_is_lost_and_each_replays_to_its_end(seed: int) -> None:
    for one in range(seed, min(seed + 10, FIRST + RUNS)):
        world = simulate(live(one))
        assert world.end is not None
        assert world.end.move is Move.COMPLETE, (one, bytes(world.end.error))
        assert bytes(world.end.output) == b"[0,1,2,3,4,5,6,7]", one
        assert [world.ends.count(move) for move in (Move.CONTINUE, Move.COMPLETE)] == [GENERATIONS, 1], one
        inputs = [input for input, _ in world.left] + [world.input]
        for generation in range(GENERATIONS):
            other = simulate(replayed(world, generation))
            assert other.ends == [Move.CONTINUE], (one, generation, other.end)
            assert other.input == inputs[generation + 1], (one, generation)
            assert not any(unit.entries for unit in other.units), (one, generation)
