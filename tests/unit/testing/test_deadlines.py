"""What deadlines do to runs on the engine in memory, as its clock goes."""

from __future__ import annotations

import pytest

from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.rules.deadlines import GRACE_SECONDS
from aiki.testing.engine import Engine
from aiki.wire.messages import Cancel, End, Entry, Ordered, Pause, Resume, Unit
from tests.unit.testing.asking import NOW, Clock, claimed, enqueued, entry, recorded, session, status

TIMEOUT = 10 * SECOND


class House:
    """An engine whose run has begun, and rests."""

    def __init__(self, **options: int) -> None:
        self.clock = Clock()
        self.engine = Engine(self.clock)
        self.run_id = enqueued(self.engine, **({"timeout": TIMEOUT} | options))
        self.worker = session(self.engine)
        (run,) = claimed(self.engine, self.worker)
        recorded(self.engine, Unit(run.fence, 0, [entry()], [], End(Move.WAIT, seen=0, waits=["event:told"])))

    def wait(self, microseconds: int) -> State:
        self.clock.now += microseconds
        self.engine.pass_time()
        return status(self.engine, self.run_id).state


def test_a_run_that_never_began_fails_at_once() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id = enqueued(engine, timeout=TIMEOUT)
    assert engine.due_at() == NOW + TIMEOUT
    clock.now += TIMEOUT
    engine.pass_time()
    after = status(engine, run_id)
    assert (after.state, after.why) == (State.FAILED, None)
    assert b"before a worker had taken it up" in bytes(after.error)


def test_a_run_that_has_begun_is_told_and_ends_hard_if_it_does_not_by_itself() -> None:
    house = House()
    assert house.wait(TIMEOUT) is State.QUEUED
    told = status(house.engine, house.run_id).cancel
    assert told is not None
    assert told.reason == "timeout"
    assert house.wait(GRACE_SECONDS * SECOND - 1) is State.QUEUED
    assert house.wait(1) is State.FAILED
    assert b"without compensation" in bytes(status(house.engine, house.run_id).error)


def test_a_run_that_has_taken_in_its_deadline_is_left_to_end_by_itself() -> None:
    house = House()
    house.wait(TIMEOUT)
    (run,) = claimed(house.engine, house.worker)
    (arrival,) = run.arrivals
    took = Entry("cancel:timeout", True, arrival.value, NOW, None, 1, (arrival.number,))
    recorded(house.engine, Unit(run.fence, 1, [took], []))
    assert house.wait(GRACE_SECONDS * SECOND) is State.RUNNING


def test_a_paused_run_stays_paused_until_it_is_resumed() -> None:
    house = House()
    house.engine.answer(Pause([house.run_id]))
    assert house.wait(TIMEOUT) is State.PAUSED
    assert house.engine.due_at() is None
    house.engine.answer(Resume([house.run_id]))
    assert status(house.engine, house.run_id).cancel is not None


def test_a_resume_is_answered_before_the_deadline_that_has_passed_meanwhile_ends_the_run() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id = enqueued(engine, timeout=TIMEOUT)
    engine.answer(Pause([run_id]))
    clock.now += TIMEOUT
    assert engine.answer(Resume([run_id])).outcomes == [Ordered("done", State.QUEUED)]
    assert status(engine, run_id).state is State.FAILED


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_cancel_has_the_time_that_the_options_leave_it(is_bounded: bool) -> None:
    house = House(**({"cancel_timeout": SECOND} if is_bounded else {}))
    house.engine.answer(Cancel([house.run_id]))
    assert house.wait(SECOND) is (State.CANCELLED if is_bounded else State.QUEUED)
