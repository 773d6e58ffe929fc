"""A run's life on Postgres is TRANSITIONS and nothing else, whatever order daemons, workers and people act in.

Hypothesis gives commands to the engine of two daemons on one database; beside it a model does the same by `aiki.rules`.
After each command the answers, the states, the journals and the histories must agree, and the promises hold: a
terminal run never changes (P4), a lost claim writes nothing (P7), a recorded outcome stays (P2). What is to be told of
ends to parents, and to children, is told later, whatever has come between.

`AIKI_STATES_EXAMPLES` (default 25) chooses how many lives of 30 commands.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec import Raw, structs

from aiki.core.states import TERMINAL, TOLD, Move, State, sources
from aiki.rules import arriving, claiming, controlling, crashing, deadlines, enqueueing, recording
from aiki.rules.arriving import Known
from aiki.rules.claiming import Queued
from aiki.rules.controlling import Obeyed
from aiki.rules.deadlines import Deadline, Step
from aiki.rules.judging import ENDS, PARKING
from aiki.rules.standing import Standing, woken
from aiki.wire.limits import UNREAD_WAKES
from aiki.wire.messages import NONE, Cancel, End, Entry, Fence, Ordered, Pause, Resume, StartOp, Unit, Wake
from aikid.engine import control, errands
from tests.integration.daemon.engine import Engine, entry, event, new_id, new_run, op
from tests.servers import Postgres

EPOCH_US = 1_000_000
ENDINGS = st.none() | st.sampled_from(sorted(ENDS))
EVERYTHING = b"""
SELECT id::text, state, finished_at IS NOT NULL,
    ARRAY(SELECT key FROM aiki.journal WHERE run_id = runs.id AND generation = runs.generation ORDER BY seq),
    ARRAY(SELECT move FROM aiki.run_history WHERE run_id = runs.id ORDER BY seq),
    news_seq, unread, coalesce(waits, '{}')
FROM aiki.runs
"""
"""One round trip: it is asked after every command."""
PASSES = b"""
INSERT INTO aiki.deadlines (run_id, at, look_at) VALUES (%s, aiki.now(), aiki.now())
ON CONFLICT (run_id) DO UPDATE SET look_at = aiki.now()
"""
EXAMPLES = int(os.environ.get("AIKI_STATES_EXAMPLES", "25"))


@dataclass
class ModelRun:
    """What the run must look like."""

    standing: Standing
    place: int
    """Of its enqueue among all."""
    story: list[str] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    session: str | None = None
    fence: Fence | None = None
    deadline: Deadline = field(default_factory=Deadline)
    last: Unit | None = None
    """What ended the last claim: repeating it is `done` while nobody claimed again."""
    unread: list[int] = field(default_factory=list)
    """The numbers of events that came and were not consumed."""
    wakes: int = 0
    """How many came."""
    parent: tuple[str, int] | None = None
    """Who has started it, and in which generation."""
    children: list[str] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)
    """Those of them that are still to be told to end."""
    is_told_of: bool = False
    """Whether nothing is left to be told of its end."""

    @property
    def state(self) -> State:
        return self.standing.state

    def happens(self, move: Move, after: Standing) -> None:
        self.standing = after
        self.story.append(move.value)

    def queued(self, run_id: str) -> Queued:
        """Return the run as a claim looks at it."""
        return Queued(run_id, self.standing.epoch > 0, 0, self.place, self.standing.crash_count, 2)

    def take(self, entries: Sequence[Entry]) -> None:
        """Write entries, and consume what they take."""
        self.journal += [structs.replace(one, takes=()) for one in entries]
        self.unread = [number for number in self.unread if not any(number in one.takes for one in entries)]

    def told(self, unit: Unit) -> str:
        """Write a unit if it fits; return what its worker is told."""
        recorded, after = recording.record(self.standing, unit, self.journal, {})
        if after is not self.standing:
            self.journal = [] if after.generation > self.standing.generation else self.journal + unit.entries
            self.standing = after
        return recorded.result


def ending(move: Move, input: bytes = b"{}") -> End:
    """Return an end by this move, with what goes with it."""
    due = EPOCH_US if move in PARKING else None
    return End(move, due_at=due, input=Raw(input) if move is Move.CONTINUE else NONE, anew=move is Move.AGAIN)


async def do_errands(daemon: Engine) -> None:
    """Tell of all that was committed and is still to be told."""
    async for _ in errands.do(daemon.pool):
        pass


class Runs(RuleBasedStateMachine):
    """Commands to two daemons' engines."""

    database: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.daemons = [Engine(self.database), Engine(self.database)]
        self.postgres = self.do(psycopg.AsyncConnection.connect(self.database, autocommit=True))
        self.execute(b"TRUNCATE aiki.runs, aiki.journal, aiki.attempts, aiki.run_history, aiki.sessions, aiki.inbox")
        self.execute(b"TRUNCATE aiki.children, aiki.errands")
        self.runs: dict[str, ModelRun] = {}
        self.sessions: list[str] = []
        self.zombies: list[tuple[str, Fence, int]] = []

    def teardown(self) -> None:
        for daemon in self.daemons:
            self.do(daemon.pool.aclose())
        self.do(self.postgres.close())
        self.runner.close()

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    def execute(self, statement: bytes, *parameters: str) -> Any:
        return self.do(self.postgres.execute(statement, parameters))

    def running(self) -> list[str]:
        return [run_id for run_id, run in self.runs.items() if run.state is State.RUNNING]

    def lose(self, run_id: str) -> None:
        run = self.runs[run_id]
        assert run.fence is not None
        self.zombies.append((run_id, run.fence, len(run.journal)))
        run.session = run.fence = run.last = None

    @rule(which=st.integers(0, 1), delayed=st.booleans())
    def enqueue(self, which: int, delayed: bool) -> None:
        run = new_run(delay=3_600_000_000 if delayed else None)
        for _ in range(2):
            (done,) = self.do(self.daemons[which].enqueue(run))
            assert done.created
        self.runs[run.id] = ModelRun(enqueueing.born(run, now=0), len(self.runs))

    @rule(which=st.integers(0, 1), limit=st.integers(1, 4), new=st.booleans())
    def claim(self, which: int, limit: int, new: bool) -> None:
        daemon = self.daemons[which]
        if new or not self.sessions:
            self.sessions.append(self.do(daemon.session()))
        session = self.sessions[-1]
        queued = {run_id: run.queued(run_id) for run_id, run in self.runs.items() if run.state is State.QUEUED}
        holds_suspect = any(
            run.session == session and crashing.is_suspect(run.standing.crash_count) for run in self.runs.values()
        )
        claimed = self.do(daemon.claim(session, limit=limit))
        # Which of several suspects comes does not matter.
        suspects = {one.fence.run_id for one in claimed if one.suspect}
        among = [one for one in queued.values() if not suspects or one.id in suspects or not self.is_suspect(one.id)]
        picked, _ = claiming.pick(among, limit=limit, limit_bytes=1_000_000, holds_suspect=holds_suspect)
        assert [one.fence.run_id for one in claimed] == [one.id for one in picked]
        for one in claimed:
            run = self.runs[one.fence.run_id]
            run.happens(Move.CLAIM, claiming.claimed(run.standing, one.fence.claim_id))
            assert one.fence.epoch == run.standing.epoch
            assert one.entries == run.journal
            assert [arrival.number for arrival in one.arrivals if arrival.kind == "event"] == run.unread
            assert one.news == run.standing.news
            run.session, run.fence, run.last = session, one.fence, None

    def is_suspect(self, run_id: str) -> bool:
        return crashing.is_suspect(self.runs[run_id].standing.crash_count)

    @precondition(lambda self: self.running())
    @rule(
        data=st.data(),
        which=st.integers(0, 1),
        entries=st.integers(0, 3),
        end=st.none() | st.sampled_from(sorted(ENDS)),
    )
    def record(self, data: Any, which: int, entries: int, end: Move | None) -> None:
        run_id = data.draw(st.sampled_from(self.running()))
        run = self.runs[run_id]
        assert run.fence is not None
        base = len(run.journal)
        new = [entry(f"t{base + n}") for n in range(entries)]
        unit = Unit(run.fence, base, new, [], ending(end) if end else None)
        assert run.told(unit) == "done"
        for daemon in (self.daemons[which], self.daemons[1 - which]):
            assert self.do(daemon.results(unit)) == ["done"]
        if end is Move.AGAIN:
            run.closing = list(run.children)  # it begins anew, and has none of them any more
        if end is not None:
            run.story.append(end)
            run.story += [Move.PAUSE] * (run.state is State.PAUSED)
            run.last = unit
            self.zombies.append((run_id, run.fence, len(run.journal)))
            run.session = run.fence = None

    @precondition(lambda self: self.running())
    @rule(data=st.data(), which=st.integers(0, 1), entries=st.integers(0, 1), behind=st.booleans())
    def a_run_parks_for_an_event(self, data: Any, which: int, entries: int, behind: bool) -> None:
        run_id = data.draw(st.sampled_from(self.running()))
        run = self.runs[run_id]
        assert run.fence is not None
        seen = max(0, run.standing.news - behind)
        base = len(run.journal)
        new = [structs.replace(entry(f"t{base + n}"), takes=tuple(run.unread[:1])) for n in range(entries)]
        unit = Unit(run.fence, base, new, [], End(Move.WAIT, seen=seen, waits=["event:approved"]))
        expected, after = recording.record(run.standing, unit, run.journal, {})
        assert self.do(self.daemons[which].record(unit)) == [expected]
        run.take(new)
        run.standing = replace(after, unread=len(run.unread))
        if expected.parked:
            run.story += [Move.WAIT, *([Move.PAUSE] if run.state is State.PAUSED else [])]
            run.last = unit
            self.zombies.append((run_id, run.fence, len(run.journal)))
            run.session = run.fence = None
        expected, _ = recording.record(run.standing, unit, run.journal, {})
        assert self.do(self.daemons[1 - which].record(unit)) == [expected]

    @precondition(lambda self: self.running())
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_run_starts_a_child(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(self.running()))
        run, new = self.runs[run_id], new_run()
        assert run.fence is not None
        start = StartOp(new.id, new.workflow, new.version, new.input, new.options)
        unit = Unit(run.fence, len(run.journal), [], [], starts=[start])
        for daemon in (self.daemons[which], self.daemons[1 - which]):
            assert self.do(daemon.results(unit)) == ["done"]
        run.children.append(new.id)
        parent = run_id, run.standing.generation
        self.runs[new.id] = ModelRun(enqueueing.born(new, now=0), len(self.runs), parent=parent)

    @rule(which=st.integers(0, 1))
    def errands_are_done(self, which: int) -> None:
        self.do(do_errands(self.daemons[which]))
        closing = [child for run in self.runs.values() for child in run.closing]
        for run in self.runs.values():
            run.closing = []
        for child in closing:
            if self.runs[child].deadline.cancel_seq is None:
                self.is_cancelled(child, force=False)
        for run in self.runs.values():
            if run.state in TERMINAL and not run.is_told_of:
                run.is_told_of = True
                self.hears(run.parent)

    def hears(self, parent: tuple[str, int] | None) -> None:
        """Have a parent hear of the end of a child, if it is still who has started that."""
        if parent is None:
            return
        run, generation = self.runs[parent[0]], parent[1]
        if run.state not in TERMINAL and run.standing.generation == generation:
            run.standing = arriving.reached(run.standing, [arriving.CHILD])

    def is_cancelled(self, run_id: str, *, force: bool) -> Obeyed:
        """Have the model cancel a run; return what becomes of that."""
        run, before = self.runs[run_id], self.runs[run_id].state
        is_told = run.deadline.cancel_seq is not None
        obeyed, after = controlling.cancel(run.standing, is_told=is_told, force=force)
        if obeyed is Obeyed.REQUESTED:
            if not is_told:
                run.deadline = replace(run.deadline, cancel_seq=after.news)
            move = Move.ARRIVE if before in sources(Move.ARRIVE) else Move.RESUME
            run.story.append(TOLD if after.state is before else move)
        elif after.state is not before:
            run.last, run.closing = None, list(run.children)
            run.happens(Move.CANCEL, after)
            if run.fence is not None:
                self.lose(run_id)
        run.standing = after
        return obeyed

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1), name=st.sampled_from(["approved", "other"]))
    def somebody_sends(self, data: Any, which: int, name: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        sent = event(run_id, name)
        outcome = arriving.send(run.standing, Known(), sent)
        repeat = arriving.send(run.standing, Known({sent.id}), sent) if outcome == arriving.TAKEN else outcome
        found = self.do(self.daemons[which].send(sent)) + self.do(self.daemons[1 - which].send(sent))
        assert [one.result for one in found] == [outcome.result, repeat.result]
        if outcome == arriving.TAKEN:
            after = arriving.reached(run.standing, [f"event:{name}"])
            run.story += [Move.ARRIVE] * (after.state is not run.state)
            run.standing = after
            run.unread.append(after.news)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data(), end=ENDINGS)
    def a_zombie_writes(self, data: Any, end: Move | None) -> None:
        run_id, fence, base = data.draw(st.sampled_from(self.zombies))
        unit = Unit(fence, base, [entry("zombie")], [], ending(end, b"[0]") if end else None)
        told = self.runs[run_id].told(unit)
        assert told in ("fenced", "conflict")
        assert self.do(self.daemons[0].results(unit)) == [told]

    @precondition(lambda self: any(run.last for run in self.runs.values()))
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_worker_repeats_itself(self, data: Any, which: int) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs.values() if run.last]))
        assert run.last is not None
        assert self.do(self.daemons[which].results(run.last)) == [run.told(run.last)] == ["done"]

    @rule(which=st.integers(0, 1))
    def time_passes(self, which: int) -> None:
        # What a claim's end has named is due already, and stays as it was named: a repeat is compared with it.
        self.execute(b"UPDATE aiki.runs SET due_at = now() WHERE due_at > now()")
        due = self.do(self.daemons[which].wake())
        parked = (State.SCHEDULED, State.SLEEPING, State.RETRYING)
        assert set(due) == {run_id for run_id, run in self.runs.items() if run.state in parked}
        for run_id in due:
            self.runs[run_id].happens(Move.DUE, woken(self.runs[run_id].standing))
        for run in self.runs.values():
            if (run.state is State.PAUSED or not run.standing.epoch) and run.standing.due_at is not None:
                run.standing = replace(run.standing, due_at=0)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), which=st.integers(0, 1), politely=st.booleans())
    def a_worker_leaves(self, data: Any, which: int, politely: bool) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        self.sessions.remove(session)
        held = {run_id for run_id in self.running() if self.runs[run_id].session == session}
        if politely:
            assert set(self.do(self.daemons[which].close(session))) == held
        else:
            self.do(self.daemons[which].expire(session))
            moves = {one.id: one.move for one in self.do(self.daemons[which].rescue())}
            assert set(moves) == held
        for run_id in held:
            loss, after = crashing.lose(self.runs[run_id].standing, is_left=politely, now=0)
            assert politely or loss.move is moves[run_id]
            self.runs[run_id].happens(loss.move, after)
            self.runs[run_id].story += [Move.PAUSE] * (after.state is State.PAUSED)
            self.lose(run_id)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_person_pauses(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        obeyed, after = controlling.pause(run.standing)
        (reply,) = self.do(control.pause(self.daemons[which].pool, "default", Pause([run_id]))).replies
        assert reply.outcomes == [Ordered(obeyed.value, after.state)]
        if after.state is not run.state:
            run.happens(Move.PAUSE, after)
        run.standing = after

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_person_resumes(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        obeyed, after = controlling.resume(run.standing, now=0)
        done = self.do(control.resume(self.daemons[which].pool, "default", Resume([run_id])))
        (reply,) = done.replies
        assert reply.outcomes == [Ordered(obeyed.value, after.state)]
        moved = after.state is not run.state
        assert bool(done.changes.queued) == (moved and after.state is State.QUEUED)
        if moved:
            run.happens(Move.RESUME, after)
            run.story += [Move.DEFER] * (after.state is State.SCHEDULED)
            run.last = None
        run.standing = after

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1), force=st.booleans())
    def a_person_cancels(self, data: Any, which: int, force: bool) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        obeyed = self.is_cancelled(run_id, force=force)
        done = self.do(control.cancel(self.daemons[which].pool, "default", Cancel([run_id], force=force)))
        (reply,) = done.replies
        assert reply.outcomes == [Ordered(obeyed.value, self.runs[run_id].state)]

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_person_wakes(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        obeyed, after = controlling.wake(run.standing)
        if run.state is State.RUNNING and run.wakes >= UNREAD_WAKES:
            after = run.standing
        request = Wake([run_id], id=new_id())
        for daemon in (self.daemons[which], self.daemons[1 - which]):
            (reply,) = self.do(control.wake(daemon.pool, "default", request)).replies
            if daemon is self.daemons[which]:
                assert reply.outcomes == [Ordered(obeyed.value, after.state)]
        run.wakes += after.news - run.standing.news
        if after.state is not run.state:
            run.happens(Move.WAKE, after)
        run.standing = after

    @precondition(lambda self: self.running())
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_run_sends(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(self.running()))
        run, sent = self.runs[run_id], op(data.draw(st.sampled_from(sorted(self.runs))))
        assert run.fence is not None
        target = self.runs[sent.run_id]
        outcome = arriving.send(target.standing, Known(), sent)
        words = [f"event:{sent.name}"] * (outcome == arriving.TAKEN)
        unit = Unit(run.fence, len(run.journal), [], [], None, [sent])
        coming = [*(words if target is run else ()), arriving.OP]
        expected, after = recording.record(run.standing, unit, run.journal, {}, coming=coming)
        assert self.do(self.daemons[which].record(unit)) == [expected]
        run.standing = after
        if target is not run and words:
            reached = arriving.reached(target.standing, words)
            target.story += [Move.ARRIVE] * (reached.state is not target.state)
            target.standing = reached
        if words:
            first = after.news - len(coming) + 1
            target.unread.append(first if target is run else target.standing.news)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), which=st.integers(0, 1))
    def a_deadline_passes(self, data: Any, which: int) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        self.execute(b"UPDATE aiki.deadlines SET look_at = NULL")
        self.execute(PASSES, run_id)
        expected, after = deadlines.step(run.standing, run.deadline), deadlines.passed(run.standing, run.deadline)
        assert self.do(self.daemons[which].pass_deadlines()) == {run_id: expected}
        if expected is Step.TELL:
            run.deadline = Deadline(after.news, after.news)
        if expected is Step.NOTE:
            run.deadline = replace(run.deadline, told_seq=0)
        if expected in (Step.TELL, Step.NOTE) and after.state is run.state:
            run.story.append(TOLD)
        if expected is Step.END:
            run.last = None
            if run.fence is not None:
                self.lose(run_id)
        if after.state is not run.state:
            run.happens(Move.TIME_OUT if expected is Step.END else Move.DUE, after)
        run.standing = after

    @invariant()
    def ends_leave_errands(self) -> None:
        for run in self.runs.values():
            if run.state in TERMINAL and not run.is_told_of:
                run.closing = run.children

    @invariant()
    def postgres_agrees(self) -> None:
        rows = self.do(self.execute(EVERYTHING).fetchall())
        assert {run_id: state for run_id, state, *_ in rows} == {i: run.state for i, run in self.runs.items()}
        assert all(finished == (State(state) in TERMINAL) for _, state, finished, *_ in rows)
        assert {row[0]: row[3] for row in rows} == {i: [one.key for one in run.journal] for i, run in self.runs.items()}
        assert {row[0]: row[4] for row in rows} == {i: run.story for i, run in self.runs.items()}
        known = {i: (run.standing.news, run.standing.unread, run.standing.waits) for i, run in self.runs.items()}
        assert {row[0]: (*row[5:7], frozenset(row[7])) for row in rows} == known


@pytest.fixture
def states_database(postgres: Postgres, template: str) -> Iterator[str]:
    yield postgres.create_database("run_states", template=template)
    postgres.drop_database("run_states")


def test_every_life_is_one_of_transitions(states_database: str) -> None:
    machine = type("RunsOfThisTest", (Runs,), {"database": states_database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
