"""How runs rest on the engine in memory, and what wakes them."""

from __future__ import annotations

from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.testing.engine import Engine
from aiki.wire.messages import Claimed, End, Entry, Inbox, Send, Sent, TimerAsk, Told, Unit
from tests.unit.testing.asking import NOW, Clock, claimed, enqueued, new_id, recorded, session, status


def begun(engine: Engine) -> tuple[str, Claimed]:
    run_id = enqueued(engine)
    (run,) = claimed(engine, session(engine))
    return run_id, run


def sent(engine: Engine, run_id: str, name: str, number: int = 99) -> str:
    (outcome,) = engine.answer(Send([Sent(run_id, new_id(number), name)])).outcomes
    return outcome.result


def test_a_run_says_what_it_waits_for_and_is_woken_by_that_alone() -> None:
    engine = Engine(Clock())
    run_id, run = begun(engine)
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.WAIT, seen=0, waits=["event:told", "event:asked", "wake"])))
    assert status(engine, run_id).waits == ["event:told", "event:asked", "wake"]
    sent(engine, run_id, "other", 1)
    assert status(engine, run_id).state is State.WAITING
    sent(engine, run_id, "asked", 2)
    after = status(engine, run_id)
    assert (after.state, after.waits, after.unread) == (State.QUEUED, [], 2)


def test_a_park_does_not_hold_if_something_has_come() -> None:
    engine = Engine(Clock())
    run_id, run = begun(engine)
    sent(engine, run_id, "told")
    said = recorded(engine, Unit(run.fence, 0, [], [], End(Move.WAIT, seen=0, waits=["event:told"])))
    assert (said.result, said.parked, said.news) == ("done", False, 1)
    assert status(engine, run_id).state is State.RUNNING


def test_a_worker_is_told_of_what_has_come_and_reads_it() -> None:
    engine = Engine(Clock())
    heard: list[tuple[str, Told]] = []
    engine.on_told = lambda to, told: heard.append((to, told))
    run_id, _ = begun(engine)
    sent(engine, run_id, "told")
    ((_, told),) = heard
    assert told.runs == [(run_id, 1)]
    assert engine.answer(Inbox(run_id)).arrivals == told.arrivals[run_id]


def test_an_event_is_taken_once() -> None:
    engine = Engine(Clock())
    run_id, run = begun(engine)
    assert [sent(engine, run_id, "told"), sent(engine, run_id, "told")] == ["taken", "repeated"]
    takes = Entry("event:told:0:1", True, Raw(b"1"), NOW, None, 0, (1,))
    assert recorded(engine, Unit(run.fence, 0, [takes], [])).result == "done"
    again = Entry("event:told:0:2", True, Raw(b"1"), NOW, None, 1, (1,))
    assert recorded(engine, Unit(run.fence, 1, [again], [])).result == "conflict"
    assert sent(engine, run_id, "told") == "repeated"


def test_an_asked_timer_fires_at_its_time_and_behind_what_came_before() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id, run = begun(engine)
    due = NOW + SECOND
    asked = Unit(run.fence, 0, [], [], timer=TimerAsk(Entry("timer:1", True, Raw(b"null"), due), due, 0))
    assert recorded(engine, asked).timer == "early"
    sent(engine, run_id, "told")
    clock.now = due
    assert recorded(engine, asked).timer == "news"
    seen = Unit(run.fence, 0, [], [], timer=TimerAsk(Entry("timer:1", True, Raw(b"null"), due), due, 1))
    assert recorded(engine, seen).timer == "done"
    assert status(engine, run_id).state is State.RUNNING


def test_a_sleeping_run_is_due_at_its_date() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id, run = begun(engine)
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.SLEEP, due_at=NOW + SECOND)))
    assert (engine.due_at(), status(engine, run_id).due_at) == (NOW + SECOND, NOW + SECOND)
    clock.now += SECOND
    engine.pass_time()
    assert status(engine, run_id).state is State.QUEUED
