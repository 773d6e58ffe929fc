"""What the engine in memory answers to clients and workers."""

from __future__ import annotations

from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.testing.engine import Engine
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Cancel, End, Failure, Retried, Retry, Unit
from tests.unit.testing.asking import NOW, Clock, claimed, enqueued, entry, recorded, session, status


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


def test_a_retry_goes_on_to_the_microsecond_however_many_runs_came_before_it_at_the_same_moment() -> None:
    clock = Clock()
    engine = Engine(clock)
    *_, run_id = [enqueued(engine, number) for number in range(1, 10)]
    engine.answer(Cancel([run_id]))
    clock.now += 10 * SECOND
    (redone,) = engine.answer(Retry([run_id])).outcomes
    *_, new = claimed(engine, session(engine), limit=10)
    assert new.fence.run_id == redone.run_id
    assert decoder(Retried).decode(new.entries[0].value).idle == 10 * SECOND
