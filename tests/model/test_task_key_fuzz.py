"""Runs made up at random that share keys of tasks, with crashes, drains, cancels and pauses at any moment.

Whatever comes: no two tries for one key run at a time, one result of it stands and all have that, and nobody is left
waiting.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from aiki.core.errors import Conflict, TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import TERMINAL, State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.testing.memory import task_keys
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

RUNS = 4
HISTORIES = 60
running: Counter[str] = Counter()
seen: dict[str, set[str]] = {}


@task(idempotency_scope="workflow", retry=Retry.fixed(2, "2s"), cancel_grace="1s")
async def act(key: str, seconds: float, fails: bool) -> str:
    """Take its time; a cancel takes some more. No other try for its key may run meanwhile."""
    running[key] += 1
    assert running[key] == 1, f"two tries for {key} run at a time"
    seen.setdefault(key, set()).add(task_run().idempotency_key)
    try:
        await asyncio.sleep(seconds)
        if fails and task_run().attempt == 1:
            raise ValueError("it fails")
        return f"{key} by {task_run().run_id[-1]}"
    finally:
        running[key] -= 1


@workflow(name="acts", version="1")
async def acts(run: WorkflowRun, steps: list[list[Any]], at_once: bool) -> list[str]:
    async def step(key: str, seconds: float, fails: bool, patience: float) -> str:
        try:
            async with asyncio.timeout(patience or None):
                shared = act.options(idempotency_key=key, idempotency_retention="1d")
                return await shared.run(run, key, seconds, fails)
        except (TaskFailed, TimeoutError, Conflict) as error:
            return type(error).__name__

    if at_once:
        return list(await asyncio.gather(*[step(*one) for one in steps]))
    return [await step(*one) for one in steps]


def program(draw: random.Random) -> bytes:
    # The same input for each key, or there are conflicts alone.
    steps = [
        [key, 0.2 + 0.3 * "abc".index(key), key == "b", draw.choice([0, 0, 0.3, 2.5])]
        for key in draw.sample("abc", draw.randint(1, 3))
    ]
    return json.dumps({"steps": steps, "at_once": draw.random() < 0.5}).encode()


async def disturb(world: World, draw: random.Random) -> None:
    """Do something to the run now and then."""
    for _ in range(draw.randint(0, 4)):
        await asyncio.sleep(draw.random() * 1.5)
        if world.state in TERMINAL:
            return
        what = draw.choice(["crash", "crash", "drain", "suspend", "pause", "cancel"])
        if what == "pause":
            world.pause()
            await asyncio.sleep(draw.random())
            world.resume()
        elif what == "cancel" and draw.random() < 0.3:
            world.cancel()
        elif world.execution is not None:
            if what == "crash":
                world.crash()
            elif what == "drain":
                world.execution.drain()
            elif what == "suspend":
                world.execution.suspend()


async def live(seed: int) -> list[World]:
    draw = random.Random(seed)
    runs: dict[str, World] = {}
    worlds = [
        World(
            acts,
            program(draw),
            run_id=f"0190b0a0-0000-7000-8000-00000000000{n}",
            runs=runs,
            seed=seed * 10 + n,
            latency=draw.choice([(0.001,), (0.001, 0.01, 0.2)]),
        )
        for n in range(1, RUNS + 1)
    ]
    for world in worlds:
        world.slow_replies = draw.random() < 0.5
        world.deafness = draw.choice([0.0, 0.0, 0.3])
    renewing = asyncio.create_task(renew(worlds))

    async def one(world: World) -> None:
        await asyncio.sleep(draw.random() / 2)
        disturbing = asyncio.create_task(disturb(world, draw))
        await world.finish(claims=300)
        await disturbing
        await world.finish(claims=300)

    try:
        async with asyncio.timeout(600):
            await asyncio.gather(*[one(world) for world in worlds])
    except TimeoutError:
        states = [(str(world.state), world.standing.waits) for world in worlds]
        raise AssertionError(f"seed {seed}: somebody is left waiting: {states}, {worlds[0].store.task_keys}") from None
    renewing.cancel()
    return worlds


async def renew(worlds: list[World]) -> None:
    """Tell workers from time to time of what they were not told of."""
    while True:
        await asyncio.sleep(1)
        for world in worlds:
            world.renew()


@pytest.mark.parametrize("first", range(0, HISTORIES, 20))
def test_one_result_stands_for_each_key_and_nobody_is_left_waiting(first: int) -> None:
    for seed in range(first, first + 20):
        running.clear()
        seen.clear()
        worlds = simulate(live(seed))
        assert {world.state for world in worlds} <= {State.COMPLETED, State.CANCELLED}, seed
        outcomes: dict[str, set[str]] = {}
        for world in worlds:
            for entry in world.journal:
                if entry.ok and entry.key.startswith("task:"):
                    outcomes.setdefault(entry.key, set()).add(bytes(entry.value).decode())
        assert all(len(values) == 1 for values in outcomes.values()), (seed, outcomes)
        assert all(len(keys) == 1 for keys in seen.values()), seed
        store = worlds[0].store
        held = {id for id, key in store.task_keys.items() if task_keys.stand_of(store, key.row) == "held"}
        assert not held, f"seed {seed}: {held} are held for ever"
