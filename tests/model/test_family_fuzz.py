"""Random families under random crashes: a program's children are programs, too, each a run with crashes of its own.

Some go on as new, some are tried again by their own rule, some are retried by a person, or refused that. Beside what
`test_execution_fuzz` looks for: each child that was started is a run, once, and its parent hears of its end once,
whichever of them crashes; what a parent hears is what the child has come to; no run waits for ever; a run that is
cancelled, or ends, takes those of its children along that shall not outlive it, and no others; runs that are found by a
key are not owned. What has succeeded begins no more in its generation, whatever is retried, and idempotency keys are
one to one with tasks of an origin in a generation.

`AIKI_FUZZ_FAMILIES` (default 30) and `AIKI_FUZZ_SEED` (default 0) choose how many, and which.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

from tests.worlds.cases import (
    FIRST_SEED,
    GENERATIONS,
    RUN_ID,
    Case,
    replay_whole,
    run_to_its_end,
    seeded,
    told,
    watched,
)
from tests.worlds.interpreter import PEER
from tests.worlds.ledger import check_family
from tests.worlds.programs import FAMILIES, MEETING, program
from tests.worlds.virtual_loop import interrupting, simulate
from tests.worlds.world import World

RUNS = int(os.environ.get("AIKI_FUZZ_FAMILIES", "30"))
PATIENCE = 100_000
"""Seconds of the simulation after which a family is stuck."""
ERRANDS_SECONDS = 1
"""How long it takes at most until all have been told of the last ends."""
RETRIES = [0, 0, 1, 3]
"""How often a root is retried at most that fails or is cancelled."""
DEPTH = 4
"""Of the programs of roots: that of a child is less deep than what it stands in."""
ALONE = 0.5
"""How many families have one root; the others have two, which may start children by one key."""


async def live_and_replay(seed: int) -> Counter[str]:
    draw = random.Random(seed)
    kinds = draw.choice([FAMILIES, FAMILIES, MEETING])
    trees = [program(draw, kinds, 3, DEPTH) for _ in range(1 if draw.random() < ALONE else 2)]
    runs: dict[str, World] = {}
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        ids = [(RUN_ID, PEER), (PEER, RUN_ID)]
        for tree, (run_id, peer) in zip(trees, ids, strict=False):
            case = Case(draw.randrange(2**32), tree, run_id=run_id, peer=peer, runs=runs, group=group)
            case.retries, case.generations = draw.choice(RETRIES), draw.choice(GENERATIONS)
            group.create_task(run_to_its_end(case))
    await asyncio.sleep(ERRANDS_SECONDS)
    cases = [Case.of(world) for world in runs.values()]
    seen: Counter[str] = Counter()
    for case in cases:
        case.check_ledger()
        case.check_details()
        case.check_labels()
        check_family(case)
        seen += told(case)
    for case in cases:
        await replay_whole(case)
    return seen


@watched()
def test_a_family_replays_as_it_lived_and_nobody_is_lost_under_crashes() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        with seeded(seed):
            seen += simulate(live_and_replay(seed), clock=interrupting(random.Random(seed)))
    print(f"{RUNS} seeds: {dict(seen)}")
    if RUNS >= 500:
        expected = {"children", "existing", "conflicts", "circles", "stops", "cancelled", "timed_out", "ends", "alls"}
        expected |= {"generations", "own_retries", "retry_retried", "retry_done", "retry_busy", "retry_foreign"}
        assert not expected - set(seen), seen
