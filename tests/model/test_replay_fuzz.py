"""Random bodies and families under random crashes, replayed on their own code whenever a claim has ended: no alarm.

They are those of `test_execution_fuzz` and `test_family_fuzz`: in flight after each of their lives and once more when
they are over, as a server would give them. Their bodies race, are sent events, cancelled, paused and retried.

`AIKI_REPLAY_RUNS` (default 100) and `AIKI_FUZZ_SEED` (default 0) choose how many programs, and which; of families a
tenth of that.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiki.replay import Finding, replay
from tests.model import test_execution_fuzz, test_family_fuzz
from tests.worlds.cases import FIRST_SEED, Case, Witness, fuzz, seeded, watched
from tests.worlds.recordings import recorded
from tests.worlds.virtual_loop import interrupting, simulate

RUNS = int(os.environ.get("AIKI_REPLAY_RUNS", "100"))
seen: Counter[str] = Counter()


def check(case: Case) -> None:
    """Replay the run as it stands, beside what the case remembers of its lives."""
    recording = recorded(case.world.run)
    witness, case.witness = case.witness, Witness()
    faults, case.faults = case.faults, []
    try:
        (verdict,) = replay([recording], [fuzz])
    finally:
        case.witness, case.faults = witness, faults
    keys = [entry.key for entry in recording.entries]
    assert verdict.finding is Finding.COMPATIBLE, (verdict.why, verdict.diff, verdict.state, keys)
    seen[f"{verdict.state}"] += 1
    seen["entries"] += verdict.entries


@contextmanager
def replaying() -> Iterator[None]:
    """Have each run replayed whenever a claim of it has ended."""
    live = Case.live

    async def live_and_check(case: Case, cut: str | None) -> None:
        await live(case, cut)
        check(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Case, "live", live_and_check)
        yield


@watched()
def test_no_program_alarms_on_its_own_code() -> None:
    with replaying():
        for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
            with seeded(seed):
                simulate(test_execution_fuzz.live_and_replay(seed), clock=interrupting(random.Random(seed)))
    print(f"{RUNS} programs: {dict(seen)}")
    assert seen["completed"] >= RUNS // 4


@watched()
def test_no_family_alarms_on_its_own_code() -> None:
    with replaying():
        for seed in range(FIRST_SEED, FIRST_SEED + max(1, RUNS // 10)):
            with seeded(seed):
                simulate(test_family_fuzz.live_and_replay(seed), clock=interrupting(random.Random(seed)))
    print(f"{RUNS // 10} families: {dict(seen)}")
    assert seen["completed"] >= RUNS // 40
