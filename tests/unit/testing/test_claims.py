"""In which order the engine in memory hands out what is queued, and that a suspect run comes alone."""

from __future__ import annotations

from aiki.core.states import Move
from aiki.testing.engine import Engine
from aiki.wire.messages import End, Resume, Unit
from tests.unit.testing.asking import Clock, claimed, enqueued, recorded, session, status


def ids(engine: Engine, worker: str, limit: int) -> list[str]:
    return [run.fence.run_id for run in claimed(engine, worker, limit)]


def test_priority_comes_before_time_and_who_has_begun_before_who_has_not() -> None:
    engine = Engine(Clock())
    worker = session(engine)
    begun = enqueued(engine, 1)
    (run,) = claimed(engine, worker)
    late, urgent, early = enqueued(engine, 4), enqueued(engine, 3, priority=1), enqueued(engine, 2)
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.RELEASE)))
    assert ids(engine, worker, 2) == [urgent, begun]
    assert ids(engine, worker, 5) == [late, early]


def test_a_run_that_has_cost_two_workers_is_claimed_first_and_one_at_a_time() -> None:
    clock = Clock()
    engine = Engine(clock)
    suspects = [enqueued(engine, number) for number in (1, 2)]
    for _ in range(2):
        worker = session(engine)
        assert ids(engine, worker, 2) == suspects
        engine.lose(worker)
        clock.now += 60_000_000
        engine.pass_time()
    other = enqueued(engine, 3, priority=9)
    worker = session(engine)
    assert ids(engine, worker, 5) == [suspects[0], other]
    assert ids(engine, worker, 5) == []
    assert ids(engine, session(engine), 5) == [suspects[1]]


def test_a_run_that_never_gets_on_is_blocked_and_a_person_lets_it_go_on() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id = enqueued(engine)
    for _ in range(5):
        worker = session(engine)
        assert ids(engine, worker, 1) == [run_id]
        engine.lose(worker)
        clock.now += 60_000_000
        engine.pass_time()
    assert (status(engine, run_id).why or "").startswith("crash_loop")
    assert engine.answer(Resume([run_id])).outcomes[0].result == "done"
    assert ids(engine, session(engine), 1) == [run_id]
