"""Random bodies under random crashes: replay is live again, exactly, and nothing recorded is done twice.

`AIKI_FUZZ_RUNS` (default 500) and `AIKI_FUZZ_SEED` (default 0) choose how many runs, and which; a failure names its
seed, and AIKI_FUZZ_RUNS=1 AIKI_FUZZ_SEED=that repeats it alone.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiki.core.keys import kind_of
from aiki.core.states import State
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.execution.deliveries import Deliveries
from aiki.execution.kinds import KINDS
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Entry
from tests.worlds.interpreter import Interpreter
from tests.worlds.outside import Outside, make_tasks
from tests.worlds.programs import RACY, Node, program
from tests.worlds.virtual_loop import interrupting, simulate
from tests.worlds.world import World

RUNS = int(os.environ.get("AIKI_FUZZ_RUNS", "500"))
FIRST_SEED = int(os.environ.get("AIKI_FUZZ_SEED", "0"))
POOLS = Pools()
LIVES = 6
"""Claims of a run that are cut short; the next one is left in peace."""


class Witness:
    """Sees each delivery of a life: what was delivered, and all that the body had done by then."""

    def __init__(self) -> None:
        self.trace: list[object] = []
        self.deliveries: list[tuple[str, int, int]] = []

    def saw(self, key: str) -> None:
        self.deliveries.append((key, len(self.trace), hash(tuple(map(repr, self.trace)))))


class Case:
    """One program and its run."""

    def __init__(self, seed: int, tree: Node, *, pure: bool = False) -> None:
        self.draw = random.Random(seed)
        self.tree = tree
        self.outside = Outside(self.draw, pure=pure)
        self.tasks = make_tasks(self.outside)
        self.witness = Witness()
        self.known: list[tuple[str, int, int]] = []
        self.world = self.make_world(seed)

    def make_world(self, seed: int) -> World:
        @workflow(name="fuzz", version="1")
        async def fuzz(run: WorkflowRun) -> str:
            interpreter = Interpreter(run, self.tasks, self.witness.trace)
            return repr(await interpreter.go(self.tree, {}))

        return World(
            fuzz,
            pools=POOLS,
            seed=seed,
            latency=(0.001, 0.01, 0.3),
            page_length=self.draw.choice([1, 3, 10, 1_000_000]),
        )

    async def live(self, cut: str | None) -> None:
        """Claim the run once; end the claim by `cut` at some moment, or let it come to its own end."""
        world = self.world
        if world.standing.due_at is not None and world.state is not State.QUEUED:
            await asyncio.sleep(max(0, (world.standing.due_at - world.now()) / 1_000_000))
        self.witness = Witness()
        self.outside.recorded = {entry.key for entry in world.journal if not entry.key.startswith("timer:")}
        with watched(self.witness):
            world.claim()
            if cut is not None:
                handle = asyncio.get_running_loop().call_later(self.draw.expovariate(0.5), self.cut, cut)
                await world.settle()
                handle.cancel()
            await world.settle()
        self.compare()

    def cut(self, how: str) -> None:
        if self.world.execution is None:
            return
        if how == "crash":
            self.world.crash()
        else:
            getattr(self.world.execution, how)()

    def compare(self) -> None:
        """Every delivery that was durable has happened again, in order, to a body that had done the same."""
        seen = self.witness.deliveries
        both = min(len(self.known), len(seen))
        assert seen[:both] == self.known[:both], "replay differs from what was recorded"
        recorded = [entry.key for entry in self.world.journal if not KINDS[kind_of(entry.key)].at_once]
        self.known = seen[: len(recorded)] if len(seen) >= len(self.known) else self.known
        assert [key for key, _, _ in self.known] == recorded[: len(self.known)]


@contextmanager
def watched(witness: Witness) -> Iterator[None]:
    """Let `witness` see the deliveries of all bodies."""
    consume, record = Deliveries._consume, Deliveries._record

    def consumed(deliveries: Deliveries, index: int, entry: Entry) -> None:
        witness.saw(entry.key)
        consume(deliveries, index, entry)

    def recorded(deliveries: Deliveries, entry: Entry) -> None:
        witness.saw(entry.key)
        record(deliveries, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deliveries, "_consume", consumed)
        patch.setattr(Deliveries, "_record", recorded)
        yield


async def run_to_its_end(case: Case, lives: int = LIVES) -> None:
    world = case.world
    for life in range(200):
        cut = case.draw.choice(["crash", "crash", "crash", "stop", "drain"]) if life < lives else None
        await case.live(cut)
        assert world.state is not State.BLOCKED, world.end and world.end.why
        if world.state in (State.COMPLETED, State.FAILED):
            break
    else:
        raise AssertionError("the run does not end")
    assert not case.outside.again, "recorded tasks were started again"


async def replay_whole(case: Case) -> None:
    """Replay the finished journal: the same trace and the same end, and nothing new."""
    world, before = case.world, case.witness.trace
    started, length = len(case.outside.started), len(world.journal)
    end = world.end
    assert end is not None
    world.reopen()
    await case.live(None)
    assert case.witness.trace == before, "the trace of the replay differs"
    assert len(case.outside.started) == started, "the replay started a task"
    assert len(world.journal) == length, "the replay recorded something"
    assert world.end is not None
    assert (world.end.move, bytes(world.end.output)) == (end.move, bytes(end.output))


@contextmanager
def seeded(seed: int, tree: Node) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}\nAIKI_FUZZ_RUNS=1 AIKI_FUZZ_SEED={seed}\n{tree}") from error


def test_replay_is_live_again_under_crashes() -> None:
    entries = lives = 0
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        tree = program(random.Random(seed), RACY)

        async def one(seed: int = seed, tree: Node = tree) -> tuple[int, int]:
            case = Case(seed, tree)
            await run_to_its_end(case)
            await replay_whole(case)
            return len(case.world.journal), case.world.epoch

        with seeded(seed, tree):
            length, epoch = simulate(one(), clock=interrupting(random.Random(seed)))
        entries += length
        lives += epoch
    print(f"{RUNS} runs, {lives} claims, {entries} entries")
