"""What reaches a run: what becomes of it, whom it wakes, and what it goes before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import Raw

from aiki.core.states import TERMINAL, Move, State
from aiki.rules import arriving, recording
from aiki.rules.arriving import Known
from aiki.rules.standing import Standing
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import End, Entry, Fence, Outcome, Recorded, SendOp, TimerAsk, Unit

FENCE = Fence("run", 1, "claim")
RUNNING = Standing(State.RUNNING, 1, "claim")
EVENT = SendOp("id-1", "run", "approved", Raw(b"1"), "k", "d" * 32)


def entry(name: str) -> Entry:
    return Entry(name, True, Raw(b"1"), 1)


@pytest.mark.parametrize("state", State)
def test_a_run_takes_events_in_every_state_but_an_ended_one(state: State) -> None:
    outcome = arriving.send(Standing(state), Known(), EVENT)
    assert outcome == (Outcome("ended", state) if state in TERMINAL else Outcome("taken"))


def test_no_more_events_are_taken_than_may_be_unread() -> None:
    assert arriving.send(replace(RUNNING, unread=UNREAD_EVENTS - 1), Known(), EVENT).result == "taken"
    assert arriving.send(replace(RUNNING, unread=UNREAD_EVENTS), Known(), EVENT).result == "full"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("known", "result"),
    [
        (Known({"id-1"}), "repeated"),
        (Known({"id-1"}, {("approved", "k"): "0" * 32}), "repeated"),
        (Known(digests={("approved", "k"): "d" * 32}), "repeated"),
        (Known(digests={("approved", "k"): "0" * 32}), "conflict"),
    ],
)
def test_a_repeat_is_known_in_every_state(state: State, known: Known, result: str) -> None:
    assert arriving.send(Standing(state, unread=UNREAD_EVENTS), known, EVENT).result == result


def test_another_event_with_the_same_key_is_another_event() -> None:
    assert arriving.send(RUNNING, Known({"id-2"}, {("rejected", "k"): "0" * 32}), EVENT).result == "taken"
    assert arriving.send(None, Known(), EVENT).result == "unknown"


def test_an_event_that_a_workflow_does_not_declare_is_refused_unless_it_was_taken_before() -> None:
    takes = frozenset({"rejected"})
    assert arriving.send(RUNNING, Known(), EVENT, takes=takes).result == "refused"
    assert arriving.send(RUNNING, Known(), EVENT, takes=takes | {"approved"}).result == "taken"
    assert arriving.send(RUNNING, Known({"id-1"}), EVENT, takes=takes).result == "repeated"
    assert arriving.send(Standing(State.FAILED), Known(), EVENT, takes=takes).result == "ended"


@pytest.mark.parametrize("state", State)
def test_an_arrival_wakes_whoever_rests_and_waits_for_it(state: State) -> None:
    waiting = replace(RUNNING, state=state, waits=frozenset({"event:approved", "op"}))
    rests = state in (State.WAITING, State.SLEEPING)
    for word in ("event:approved", "op"):
        after = arriving.reached(waiting, ["event:other", word])
        assert (after.state, after.news) == (State.QUEUED if rests else state, 2)
    assert arriving.reached(waiting, ["event:other"]).state is state


def test_times_of_arrivals_rise_whatever_the_clock_says() -> None:
    assert arriving.comes_at(5, None) == arriving.comes_at(5, 4) == 5
    assert arriving.comes_at(5, 5) == arriving.comes_at(3, 5) == 6


@pytest.mark.parametrize(
    ("seen", "first_unseen_at", "clock", "fired"),
    [
        (2, None, 10, "done"),
        (2, None, 9, "early"),
        (1, 11, 11, "done"),
        (1, 10, 11, "news"),
        (1, 9, 9, "news"),
        (1, None, 11, "news"),
    ],
)
def test_a_timer_fires_when_all_that_came_up_to_then_was_seen(
    seen: int, first_unseen_at: int | None, clock: int, fired: str
) -> None:
    assert arriving.fires(due=10, seen=seen, news=2, first_unseen_at=first_unseen_at, clock=clock) == fired


def test_a_park_holds_if_its_worker_has_seen_all_that_came() -> None:
    end = End(Move.WAIT, seen=0, waits=["event:approved"])
    unit = Unit(FENCE, 0, [entry("a")], [], end)
    recorded, after = recording.record(RUNNING, unit, [], {})
    assert (recorded, after.state) == (Recorded("done"), State.WAITING)
    assert after.waits == {"event:approved"}
    recorded, after = recording.record(RUNNING, unit, [], {}, coming=["event:approved"])
    assert (recorded, after.state, after.length) == (Recorded("done", parked=False, news=1), State.RUNNING, 1)
    assert recording.record(after, unit, unit.entries, {}) == (recorded, after), "a repeat"


def test_what_was_said_of_a_timer_is_said_of_its_repeat() -> None:
    unit = Unit(FENCE, 0, [entry("a")], [], None, [], TimerAsk(entry("timer"), 10, 0))
    _, fired = recording.record(RUNNING, unit, [], {}, fired="done")
    assert fired.length == 2
    assert recording.record(fired, unit, [entry("a"), entry("timer")], {})[0] == recording.FIRED
    assert recording.record(fired, unit, [entry("a"), entry("b")], {})[0] == recording.CONFLICT
    _, early = recording.record(RUNNING, unit, [], {}, fired="early")
    assert recording.record(early, unit, [entry("a")], {})[0] == recording.UNFIRED
