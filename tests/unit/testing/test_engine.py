"""What the engine in memory answers to clients and workers."""

from __future__ import annotations

import uuid

from msgspec import Raw

from aiki.core.ids import uuid7
from aiki.core.states import Move, State
from aiki.testing.engine import Engine
from aiki.wire.codec import encode
from aiki.wire.messages import (
    Claim,
    Claimed,
    End,
    Enqueue,
    Entry,
    Failure,
    NewRun,
    OpenSession,
    Record,
    Recorded,
    Route,
    RunOptions,
    RunStatus,
    Status,
    Unit,
)

NOW = 1_700_000_000_000_000
ROUTE = ("greet", "1")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def new_id(number: int) -> str:
    return str(uuid7(milliseconds=NOW // 1_000, random_bits=number))


def enqueued(engine: Engine, number: int = 1, **options) -> str:
    run = NewRun(new_id(number), *ROUTE, Raw(b'{"name":"Ada"}'), RunOptions(**options))
    (answer,) = engine.answer(Enqueue([run])).runs
    assert answer.error is None
    return answer.id


def session(engine: Engine) -> str:
    id = str(uuid.uuid4())
    assert engine.answer(OpenSession(id, "worker-1", [Route(*ROUTE)])).alive
    return id


def claimed(engine: Engine, session: str, limit: int = 1) -> list[Claimed]:
    return engine.answer(Claim(session, uuid.uuid4().hex, [ROUTE], limit)).runs


def recorded(engine: Engine, unit: Unit) -> Recorded:
    (answer,) = engine.answer(Record([unit])).units
    return answer


def status(engine: Engine, run_id: str) -> RunStatus:
    (run,) = engine.answer(Status([run_id])).runs
    return run


def entry(key: str = "task:hello:0123:1") -> Entry:
    return Entry(key, True, Raw(b'"hello"'), NOW)


def test_a_run_is_claimed_recorded_and_completed() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine)
    (run,) = claimed(engine, session(engine))
    assert status(engine, run_id).state is State.RUNNING
    assert recorded(engine, Unit(run.fence, 0, [entry()], [])).result == "done"
    assert recorded(engine, Unit(run.fence, 1, [], [], End(Move.COMPLETE, output=Raw(b"1")))).result == "done"
    after = status(engine, run_id)
    assert (after.state, after.tasks, bytes(after.output)) == (State.COMPLETED, 1, b"1")


def test_a_run_that_fails_says_why() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine)
    (run,) = claimed(engine, session(engine))
    error = Raw(encode(Failure("ValueError", "no")))
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.FAIL, error=error)))
    after = status(engine, run_id)
    assert (after.state, after.error) == (State.FAILED, error)


def test_a_repeated_unit_is_done_once_and_another_one_is_a_conflict() -> None:
    engine = Engine(Clock())
    enqueued(engine)
    (run,) = claimed(engine, session(engine))
    unit = Unit(run.fence, 0, [entry()], [])
    assert [recorded(engine, unit).result for _ in range(2)] == ["done", "done"]
    assert recorded(engine, Unit(run.fence, 0, [entry("task:other:0123:1")], [])).result == "conflict"


def test_a_lost_worker_can_change_nothing_and_its_run_goes_on() -> None:
    engine = Engine(Clock())
    enqueued(engine)
    worker = session(engine)
    (run,) = claimed(engine, worker)
    recorded(engine, Unit(run.fence, 0, [entry()], []))
    engine.lose(worker)
    assert recorded(engine, Unit(run.fence, 1, [entry("task:b:0:1")], [])).result == "fenced"
    (again,) = claimed(engine, session(engine))
    assert (again.claims, again.entries) == (2, [entry()])


def test_a_delayed_run_is_queued_when_time_has_passed() -> None:
    clock = Clock()
    engine = Engine(clock)
    heard: list[int] = []
    engine.on_queued = lambda: heard.append(clock())
    run_id = enqueued(engine, delay=5_000_000)
    assert (status(engine, run_id).state, engine.due_at()) == (State.SCHEDULED, NOW + 5_000_000)
    clock.now += 5_000_000
    engine.pass_time()
    assert (heard, engine.due_at()) == ([clock.now], None)
