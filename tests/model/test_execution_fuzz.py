"""Random bodies under random crashes: replay is live again, exactly, and nothing recorded is done twice.

They are sent events at random moments, of which their workers are not always told, and whose clocks are not the
database's; they send some themselves. Some are cancelled at a random moment, once or twice. No event is lost, taken
twice, out of order, or overtaken by a timer.

`AIKI_FUZZ_RUNS` (default 500) and `AIKI_FUZZ_SEED` (default 0) choose how many runs, and which; a failure names its
seed, and AIKI_FUZZ_RUNS=1 AIKI_FUZZ_SEED=that repeats it alone.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aiki.core.keys import kind_of
from aiki.core.states import TERMINAL, State
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.execution.deliveries import Deliveries
from aiki.execution.kinds import KINDS
from aiki.execution.timers import Timer
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Entry
from tests.worlds.interpreter import HEARD, PEER, Interpreter
from tests.worlds.outside import Outside, make_tasks
from tests.worlds.programs import TALKING, Node, program
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
        self.world.deafness = self.draw.choice([0, 0.2, 1])
        self.peer = World(self.world.workflow, run_id=PEER, runs=self.world.runs)
        """Is sent to, and never runs."""
        self.sent = 0

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
        if world.state is State.WAITING:
            await world.queued()
        elif world.standing.due_at is not None and world.state is not State.QUEUED:
            await asyncio.sleep(max(0, (world.standing.due_at - world.now()) / 1_000_000))
        self.witness = Witness()
        self.outside.recorded = {entry.key for entry in world.journal if not entry.key.startswith("timer:")}
        world.skew = self.draw.choice([0, 0, 50_000, -50_000])
        with watched(self.witness, self.check_timer):
            world.claim()
            if cut is not None:
                handle = asyncio.get_running_loop().call_later(self.draw.expovariate(0.5), self.cut, cut)
                await world.settle()
                handle.cancel()
            await world.settle()
        self.compare()

    async def talk(self) -> None:
        """Send the run events, for as long as it goes on."""
        while True:
            await asyncio.sleep(self.draw.choice([0, 0.1, 0.5, 1, 3, 8]))
            for _ in range(self.draw.choice([1, 1, 1, 2, 5])):
                self.sent += self.world.send(self.draw.choice(HEARD).bind(f"{self.sent}")).result == "taken"

    async def cancel(self) -> None:
        """Cancel the run at some moment, or never."""
        if self.draw.random() < 0.3:
            for _ in range(2):
                await asyncio.sleep(self.draw.expovariate(0.3))
                self.world.cancel()

    def check_timer(self, timer: Timer) -> None:
        """No timer goes off before what came in time for an open wait, whether its worker knew of that or not."""
        overtaken = self.world.answered(timer.when_us)
        assert not overtaken, f"a timer of {timer.when_us} has gone off before {overtaken}"

    def check_ledger(self) -> None:
        """What was accepted is taken by one entry or unread; what was sent has reached its run, once."""
        takes = [number for entry in self.world.journal for number in entry.takes]
        assert sorted(takes) == sorted(self.world.inbox.taken)
        told = [op.id for unit in self.world.units for op in unit.ops if op.run_id == PEER]
        assert {arrival.id for arrival in self.peer.inbox.arrivals} == set(told)
        assert len(self.peer.inbox.arrivals) == len(set(told))

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
        recorded = [entry.key for entry in self.world.journal if not _is_at_once(entry.key)]
        self.known = seen[: len(recorded)] if len(seen) >= len(self.known) else self.known
        assert [key for key, _, _ in self.known] == recorded[: len(self.known)]


def _is_at_once(key: str) -> bool:
    kind = KINDS.get(kind_of(key))
    return kind is not None and kind.at_once


@contextmanager
def watched(witness: Witness, check_timer: Callable[[Timer], None]) -> Iterator[None]:
    """Let `witness` see the deliveries of all bodies, and timers be checked that go off for the first time."""
    consume, record, fire = Deliveries._consume, Deliveries._record, Deliveries._fire

    def consumed(deliveries: Deliveries, index: int, entry: Entry) -> None:
        witness.saw(entry.key)
        consume(deliveries, index, entry)

    def recorded(deliveries: Deliveries, entry: Entry, *, is_durable: bool = False) -> None:
        witness.saw(entry.key)
        record(deliveries, entry, is_durable=is_durable)

    def fired(deliveries: Deliveries, timer: Timer, entry: Entry) -> None:
        check_timer(timer)
        fire(deliveries, timer, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deliveries, "_consume", consumed)
        patch.setattr(Deliveries, "_record", recorded)
        patch.setattr(Deliveries, "_fire", fired)
        yield


async def run_to_its_end(case: Case, lives: int = LIVES) -> None:
    world = case.world
    talking, cancelling = asyncio.create_task(case.talk()), asyncio.create_task(case.cancel())
    for life in range(200):
        cut = case.draw.choice(["crash", "crash", "crash", "stop", "drain"]) if life < lives else None
        await case.live(cut)
        assert world.state is not State.BLOCKED, world.end and world.end.why
        if world.state in TERMINAL:
            break
    else:
        raise AssertionError("the run does not end")
    talking.cancel()
    cancelling.cancel()
    case.check_ledger()
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
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        tree = program(random.Random(seed), TALKING)

        async def one(seed: int = seed, tree: Node = tree) -> Counter[str]:
            case = Case(seed, tree)
            await run_to_its_end(case)
            await replay_whole(case)
            world = case.world
            return Counter(
                entries=len(world.journal),
                claims=world.epoch,
                events=case.sent,
                taken=len(world.inbox.taken),
                refused_parks=world.refused_parks,
                cancelled=world.state is State.CANCELLED,
                **Counter(f"timers_{answer}" for answer in world.timers),
            )

        with seeded(seed, tree):
            seen += simulate(one(), clock=interrupting(random.Random(seed)))
    print(f"{RUNS} runs: {dict(seen)}")
    if RUNS >= 500:
        expected = {"cancelled", "taken", "refused_parks", "timers_done", "timers_early", "timers_news"}
        assert not expected - set(seen), seen
