"""Own one random program and its run: its lives, what happens around them, and what must hold when it is over.

A child that it starts is another case, lived beside it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from aiki.core.keys import DETAILS, is_task, kind_of
from aiki.core.states import TERMINAL, Move, State, target
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.execution.body import Body
from aiki.execution.deliveries import Deliveries
from aiki.execution.kinds import KINDS
from aiki.execution.timers import Timer
from aiki.inside.workflow_run import WorkflowRun
from aiki.rules.controlling import Obeyed
from aiki.rules.histories import read
from aiki.testing.memory import retries
from aiki.testing.memory.run import Run
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Outcome, Retry, Said
from tests.worlds.interpreter import HEARD, PEER
from tests.worlds.ledger import outcome_of
from tests.worlds.outside import OUTSIDES, Outside
from tests.worlds.parents import Parent
from tests.worlds.programs import KEYED_IDS, Node, found, keyed
from tests.worlds.world import World
from tests.worlds.writing import answered

RUNS = int(os.environ.get("AIKI_FUZZ_RUNS", "500"))
FIRST_SEED = int(os.environ.get("AIKI_FUZZ_SEED", "0"))
POOLS = Pools()
RUN_ID = "0190b0a0-0000-7000-8000-000000000001"
RENEWAL_SECONDS = 20
ENOUGH_UNREAD = 200
GENERATIONS = [0, 0, 0, 0, 1, 2]
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

    def __init__(
        self,
        seed: int,
        tree: Node,
        *,
        pure: bool = False,
        run_id: str = RUN_ID,
        peer: str = PEER,
        runs: dict[str, World] | None = None,
        group: asyncio.TaskGroup | None = None,
        run: Run | None = None,
    ) -> None:
        """`group` is what its children live in; without one it has none. `run` is one that is there."""
        self.draw = random.Random(seed)
        self.tree = tree
        self.group = group
        self.peer = peer
        """The run that it sends to, beside itself."""
        self.outside = OUTSIDES[run_id] = Outside(
            self.draw,
            pure=pure,
            is_held=lambda: self.world.is_held,
            life=lambda: (self.world.origin_id, self.world.generation),
        )
        self.witness = Witness()
        self.known: list[tuple[str, int, int]] = []
        self.faults: list[str] = []
        """What the body has seen that must not be."""
        self.world = self.make_world(seed, run_id, {} if runs is None else runs, run)
        self.world.bear = self.bear
        self.world.succeed = self.succeed
        self.retries = 0
        """How often it may still be retried by a person."""
        self.told_retries: Counter[str] = Counter()
        self.generations = 0
        """In how many generations it is to go on."""
        self.world.slow_replies = self.draw.random() < 0.5
        self.world.deafness = self.draw.choice([0, 0.2, 1])
        self.generation = 0
        self.sent = self.pauses = self.wakes = 0
        CASES[run_id] = self

    @staticmethod
    def of(world: World) -> Case:
        """Return the case of a run."""
        return CASES[world.run_id]

    def make_world(self, seed: int, run_id: str, runs: dict[str, World], run: Run | None) -> World:
        return World(
            fuzz,
            pools=POOLS,
            seed=seed,
            run_id=run_id,
            latency=(0.001, 0.01, 0.3),
            page_length=self.draw.choice([1, 3, 10, 1_000_000]),
            runs=runs,
            run=run,
        )

    def bear(self, run: Run) -> World:
        """Live the run of a child that this one has started beside this one."""
        id = decoder(dict[str, int]).decode(run.input)["program"]
        tree = found(self.tree, id) or keyed(id // KEYED_IDS - 1)
        seed, group = self.draw.randrange(2**32), self.group
        assert group is not None
        child = Case(seed, tree, run_id=run.id, peer=self.world.run_id, runs=self.world.runs, group=group, run=run)
        child.generations = self.draw.choice(GENERATIONS)
        group.create_task(run_to_its_end(child))
        return child.world

    def succeed(self, run: Run) -> World:
        """Live the run that goes on in the place of this one beside the others."""
        seed, group = self.draw.randrange(2**32), self.group
        assert group is not None
        new = Case(seed, self.tree, run_id=run.id, peer=self.peer, runs=self.world.runs, group=group, run=run)
        new.retries, new.generations = self.retries - 1, self.generations
        new.known, new.generation = list(self.known), self.generation
        group.create_task(run_to_its_end(new))
        return new.world

    def retry(self) -> str:
        """Have the run be retried as a person would; return what came of that."""
        order = Retry([], start=self.draw.random() < 0.15)
        return self.world.house.do(lambda: retries.renew(self.world.store, self.world.run_id, order)).result

    async def live(self, cut: str | None) -> None:
        """Claim the run once; end the claim by `cut` at some moment, or let it come to its own end."""
        world = self.world
        await world.claimable()
        if world.state in TERMINAL:  # it was cancelled before it began
            return
        self.witness = Witness()
        generation = world.generation
        self.outside.recorded = done(world)
        if generation != self.generation:
            self.generation, self.known = generation, []
        self.known = self.known[: len(_counted(world.journal))]
        world.skew = self.draw.choice([0, 0, 50_000, -50_000])
        world.claim()
        if cut is not None:
            handle = asyncio.get_running_loop().call_later(self.draw.expovariate(0.5), self.cut, cut)
            await world.settle()
            handle.cancel()
        await world.settle()
        self.compare(world.journal if world.generation == generation else world.left[generation][1])

    async def talk(self) -> None:
        """Send the run events, for as long as it goes on."""
        while True:
            await asyncio.sleep(self.draw.choice([0, 0.1, 0.5, 1, 3, 8]))
            if self.world.newest.standing.unread >= ENOUGH_UNREAD:  # each claim reads them all, one by one perhaps
                continue
            for _ in range(self.draw.choice([1, 1, 1, 2, 5])):
                self.sent += self.world.send(self.draw.choice(HEARD).bind(f"{self.sent}")).result == "taken"

    async def renew(self) -> None:
        """Have the worker's lease renewed: a body that spins writes nothing, and would never hear of anything else."""
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            self.world.renew()

    async def cancel(self) -> None:
        """Have the run end at some moment, or never."""
        if self.draw.random() < 0.3:
            for _ in range(2):
                await asyncio.sleep(self.draw.expovariate(0.3))
                self.world.cancel(self.draw.choice(["requested", "requested", "timeout"]))

    async def hold(self) -> None:
        """Pause the run now and then for a while, and end its sleeps."""
        while self.draw.random() < 0.6:
            await asyncio.sleep(self.draw.expovariate(0.3))
            if self.draw.random() < 0.5:
                self.wakes += self.world.end_sleep() is not Obeyed.REFUSED
                continue
            self.pauses += self.world.pause() is not Obeyed.REFUSED
            await asyncio.sleep(self.draw.choice([0, 0.01, 0.3, 3, 20]))
            self.world.resume()

    def check_timer(self, timer: Timer) -> None:
        """No timer goes off before what came in time for an open wait, whether its worker knew of that or not."""
        overtaken = answered(self.world, timer.when_us)
        assert not overtaken, f"a timer of {timer.when_us} has gone off before {overtaken}"

    def check_ledger(self) -> None:
        """What was accepted is taken by one entry or unread; what was sent has reached its run once, or was refused."""
        world = self.world
        events = {one.number for one in world.inbox.arrivals if one.kind == "event"}
        journals = [journal for number, (_, journal) in enumerate(world.left) if number not in world.given_back]
        entries = [entry for journal in (*journals, world.journal) for entry in read(journal).entries]
        takes = [number for entry in entries for number in entry.takes if number in events]
        assert sorted(takes) == sorted(events & world.inbox.taken.keys())
        for op in (op for unit in world.units for op in unit.ops):
            outcome = outcome_of(world, op.id)
            target = world.runs.get(op.run_id)
            reached = [] if target is None else [one for one in target.newest.inbox.arrivals if one.id == op.id]
            assert len(reached) == (msgspec.json.decode(outcome, type=Outcome).result == "taken")

    def check_conduct(self) -> None:
        """It has ended once, what was recorded was not started again, and nothing while it was held."""
        assert not self.outside.again, "recorded tasks were started again"
        assert not self.outside.held, "tasks were started although a pause had come"
        assert not self.outside.doubled, "idempotency keys are not one to one with tasks"
        assert not self.faults, self.faults
        assert sum(target(move) in TERMINAL for move in self.world.ends) == 1, self.world.ends

    def check_details(self) -> None:
        """People see what the body has shown last, in whichever of its lives."""
        shown = [repr(step) for step in self.witness.trace if isinstance(step, tuple) and step[1] == "own"]
        seen = [decoder(Said).decode(row.details).details for row in self.world.attempts if row.key == DETAILS]
        if self.world.generation == 0 and self.world.attempt == 1:  # else others may have shown something
            assert [msgspec.json.decode(details) for details in seen] == shown[-1:]

    def check_labels(self) -> None:
        """Lists go by the labels that the body has at its end."""
        labelled = [step[2] for step in self.witness.trace if isinstance(step, tuple) and step[1] == "labels"]
        if labelled or self.world.generation == 0:  # else an earlier generation may have set some
            assert [sorted(self.world.labels.items())] == (labelled[-1:] or [[]])

    def cut(self, how: str) -> None:
        if self.world.execution is None:
            return
        if how == "crash":
            self.world.crash()
        else:
            getattr(self.world.execution, how)()

    def compare(self, journal: list[Entry]) -> None:
        """Every delivery that was durable has happened again, in order, to a body that had done the same.

        What a retry has cut off counts no more.
        """
        seen = self.witness.deliveries
        recorded = _counted(journal)
        both = min(len(self.known), len(seen))
        assert seen[:both] == self.known[:both], "replay differs from what was recorded"
        longer = seen if len(seen) >= len(self.known) else self.known
        self.known = longer[: len(recorded)]
        assert [key for key, _, _ in self.known] == recorded[: len(self.known)]


def _counted(journal: list[Entry]) -> list[str]:
    """Return the keys of the entries of a journal that count, and are delivered."""
    return [entry.key for entry in read(journal).entries if not _is_at_once(entry.key)]


def done(world: World) -> set[str]:
    """Return the keys of tasks that may begin no more in this generation: those that succeeded, and what counts."""
    succeeded = {entry.key for entry in world.journal if entry.ok and is_task(entry.key)}
    return succeeded | {entry.key for entry in read(world.journal).entries if is_task(entry.key)}


@workflow(name="fuzz", version="1")
async def fuzz(run: WorkflowRun, program: int = 0) -> str:
    """Run a program: the node `program` of whoever has started this run, if one has."""
    case = _case_by(run)
    parent = Parent(run, case.witness.trace, case.faults, case.peer, flow=fuzz)
    result = repr(await parent.go(case.tree, {}))
    if run.generation < case.generations:
        fuzz.continue_as_new(run, program)
    return result


CASES: dict[str, Case] = {}
"""By the id of its run, whose deliveries are watched."""


def _is_at_once(key: str) -> bool:
    kind = KINDS.get(kind_of(key))
    return kind is not None and kind.at_once


@contextmanager
def watched() -> Iterator[None]:
    """Let cases see the deliveries of their bodies, and check timers that go off for the first time."""
    consume, record, fire = Deliveries._consume, Deliveries._record, Deliveries._fire

    def consumed(deliveries: Deliveries, index: int, entry: Entry) -> None:
        _case_of(deliveries).witness.saw(entry.key)
        consume(deliveries, index, entry)

    def recorded(deliveries: Deliveries, entry: Entry, *, is_durable: bool = False) -> None:
        _case_of(deliveries).witness.saw(entry.key)
        record(deliveries, entry, is_durable=is_durable)

    def fired(deliveries: Deliveries, timer: Timer, entry: Entry) -> None:
        _case_of(deliveries).check_timer(timer)
        fire(deliveries, timer, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deliveries, "_consume", consumed)
        patch.setattr(Deliveries, "_record", recorded)
        patch.setattr(Deliveries, "_fire", fired)
        yield


def _case_of(deliveries: Deliveries) -> Case:
    run = deliveries._loop.workflow_run
    assert isinstance(run, WorkflowRun)
    return _case_by(run)


def _case_by(run: WorkflowRun) -> Case:
    """Return the case of a run by what has claimed it: before a retry's cut it sees itself as the one before."""
    body = run._body
    assert isinstance(body, Body)
    return CASES[body.claimed.fence.run_id]


async def run_to_its_end(case: Case, lives: int = LIVES) -> None:
    world = case.world
    around = [asyncio.create_task(happens) for happens in (case.talk(), case.renew(), case.cancel(), case.hold())]
    for life in range(200):
        cut = case.draw.choice(["crash", "crash", "crash", "stop", "drain"]) if life < lives else None
        await case.live(cut)
        assert world.state is not State.BLOCKED, world.end and world.end.why
        if world.state in TERMINAL:
            break
    else:
        raise AssertionError("the run does not end")
    for happening in around:
        happening.cancel()
    case.check_conduct()
    while case.retries > 0 and world.state is not State.COMPLETED and world.retried_by is None:
        await asyncio.sleep(case.draw.choice([0.5, 5, 100]))
        case.told_retries[case.retry()] += 1
        case.retries -= 1


async def replay_whole(case: Case) -> None:
    """Replay the finished journal: the same trace and the same end, and nothing new."""
    world, before = case.world, case.witness.trace
    if not world.epoch:
        return
    started, length, tries = len(case.outside.started), len(world.journal), list(world.attempts)
    end = world.end
    assert end is not None
    world.reopen()
    await case.live(None)
    assert case.witness.trace == before, "the trace of the replay differs"
    assert len(case.outside.started) == started, "the replay started a task"
    assert (len(world.journal), world.attempts) == (length, tries), "the replay recorded something"
    assert world.end is not None
    assert (world.end.move, bytes(world.end.output)) == (end.move, bytes(end.output))


@contextmanager
def seeded(seed: int, tree: Node | None = None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        shown = tree or [case.tree for case in CASES.values() if case.world.family.owner is None]
        raise AssertionError(f"seed {seed}: {error!r}\nAIKI_FUZZ_RUNS=1 AIKI_FUZZ_SEED={seed}\n{shown}") from error


def told(case: Case) -> Counter[str]:
    """Return what has happened to the run."""
    world, starts = case.world, case.world.family.children.values()
    results = [one.value for one in world.inbox.arrivals if one.kind == "op" and b'"run_id"' in bytes(one.value)]
    return Counter(
        programs=1,
        generations=world.generation,
        own_retries=sum(move is Move.AGAIN for move in world.ends),
        children=len(starts),
        existing=sum(not link.owned for link in starts),
        conflicts=sum(b'"conflict"' in bytes(value) for value in results),
        circles=sum(b'"circle"' in bytes(value) for value in results),
        stops=sum(len(unit.stops) for unit in world.units),
        ends=sum(entry.key.startswith("end:") for entry in world.journal),
        alls=sum(entry.key.startswith("all:") for entry in world.journal),
        entries=len(world.journal),
        claims=world.epoch,
        events=case.sent,
        sends=sum(len(unit.ops) for unit in world.units),
        taken=len(world.inbox.taken),
        pauses=case.pauses,
        wakes=case.wakes,
        details=sum(row.key == DETAILS for unit in world.units for row in unit.attempts),
        refused_parks=world.refused_parks,
        cancelled=world.state is State.CANCELLED,
        timed_out=any(entry.key == "cancel:timeout" for entry in world.journal),
        **Counter({f"retry_{came_to}": number for came_to, number in case.told_retries.items()}),
        **Counter(f"timers_{answer}" for answer in world.timers),
    )
