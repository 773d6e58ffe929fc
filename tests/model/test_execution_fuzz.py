"""Random bodies under random crashes: replay is live again, exactly, and nothing recorded is done twice.

They are sent events at random moments, of which their workers are not always told, and whose clocks are not the
database's; they send some themselves, many to another program that runs beside them. They are paused and resumed, their
sleeps are ended, and some are cancelled or pass their deadline, once or twice. No event is lost, taken twice, out of
order, or overtaken by a timer; what is held starts nothing; no wake ends a timeout. What they show of themselves is the
last that they have shown, and is written once.

`AIKI_FUZZ_RUNS` (default 500) and `AIKI_FUZZ_SEED` (default 0) choose how many runs, and which; a failure names its
seed, and AIKI_FUZZ_RUNS=1 AIKI_FUZZ_SEED=that repeats it alone.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.worlds.cases import FIRST_SEED, RUN_ID, RUNS, Case, replay_whole, run_to_its_end, seeded, told, watched
from tests.worlds.interpreter import PEER
from tests.worlds.programs import TALKING, program
from tests.worlds.virtual_loop import interrupting, simulate
from tests.worlds.world import World

ALONE = 0.6
"""How many programs are; the others run in pairs."""


def cases_of(seed: int) -> list[Case]:
    """Return a program, or two that send to one another; one that is alone sends to a run that never goes on."""
    draw = random.Random(seed)
    first, runs = program(draw, TALKING), dict[str, World]()
    if draw.random() < ALONE:
        case = Case(seed, first, runs=runs)
        World(case.world.workflow, run_id=PEER, runs=runs)
        return [case]
    return [
        Case(seed, first, peer=PEER, runs=runs),
        Case(seed + 1_000_000, program(draw, TALKING), run_id=PEER, peer=RUN_ID, runs=runs),
    ]


async def live_and_replay(seed: int) -> Counter[str]:
    cases = cases_of(seed)
    await asyncio.gather(*map(run_to_its_end, cases))
    for case in cases:
        case.check_ledger()
        case.check_details()
        case.check_labels()
    seen: Counter[str] = Counter()
    for case in cases:
        seen += told(case)
        await replay_whole(case)
    return seen


@watched()
def test_replay_is_live_again_under_crashes() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        with seeded(seed):
            seen += simulate(live_and_replay(seed), clock=interrupting(random.Random(seed)))
    print(f"{RUNS} seeds: {dict(seen)}")
    if RUNS >= 500:
        expected = {"cancelled", "timed_out", "taken", "sends", "pauses", "wakes", "details", "refused_parks"}
        assert not (expected | {"timers_done", "timers_early", "timers_news"}) - set(seen), seen
