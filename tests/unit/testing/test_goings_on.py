"""How runs go on in memory behind an end: retried by a person, or in their next generation."""

from __future__ import annotations

from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.testing.engine import Engine
from aiki.wire.codec import encode
from aiki.wire.messages import (
    UNDER_WAY,
    Attempt,
    Claimed,
    End,
    Entry,
    Failure,
    Inbox,
    Redone,
    Retry,
    Send,
    SendOp,
    Sent,
    Unit,
)
from tests.unit.testing.asking import NOW, Clock, claimed, enqueued, entry, new_id, recorded, session, status

GOOD = entry("task:good:0:1")
BAD = Entry("task:bad:0:1", False, Raw(b"null"), NOW, None, 1)
ERROR = Raw(encode(Failure("ValueError", "no", cut=2)))


def failed(engine: Engine, *tries: Attempt, **options: int) -> str:
    """Return a run whose second task has failed it."""
    run_id = enqueued(engine, **options)
    (run,) = claimed(engine, session(engine))
    recorded(engine, Unit(run.fence, 0, [GOOD, BAD], list(tries), End(Move.FAIL, error=ERROR)))
    return run_id


def retried(engine: Engine, run_id: str, *, start: bool = False) -> Redone:
    (outcome,) = engine.answer(Retry([run_id], start=start)).outcomes
    return outcome


def taken_up(engine: Engine) -> Claimed:
    (run,) = claimed(engine, session(engine))
    return run


def sent(engine: Engine, run_id: str) -> str:
    (outcome,) = engine.answer(Send([Sent(run_id, new_id(99), "told")])).outcomes
    return outcome.result


def test_a_retry_goes_on_from_what_failed_with_all_before_that() -> None:
    engine = Engine(Clock())
    old = failed(engine)
    said = retried(engine, old)
    run = taken_up(engine)
    assert (said.result, run.fence.run_id, run.attempt, run.origin_id) == ("retried", said.run_id, 2, old)
    assert [one.key for one in run.entries] == [GOOD.key, BAD.key, "retry:2"]
    assert status(engine, old).retried_by == said.run_id
    assert retried(engine, old) == Redone("found", said.run_id, State.RUNNING)


def test_of_tries_a_retry_knows_only_what_may_not_begin_again() -> None:
    engine = Engine(Clock())
    once, tried = Attempt("task:once:0:1", 1), Attempt("task:bad:0:1", 1, ERROR, NOW)
    retried(engine, failed(engine, once, tried, Attempt("task:slow:0:1", 1, UNDER_WAY)))
    assert taken_up(engine).attempts == [once]


def test_what_is_sent_to_a_run_reaches_its_newest_retry() -> None:
    engine = Engine(Clock())
    old = failed(engine)
    assert sent(engine, old) == "ended"
    new = retried(engine, old).run_id
    assert sent(engine, old) == "taken"
    assert [one.name for one in engine.answer(Inbox(new)).arrivals] == ["told"]


def test_each_retry_has_as_long_as_the_first() -> None:
    clock = Clock()
    engine = Engine(clock)
    run_id = failed(engine, timeout=60 * SECOND)
    for _ in range(2):
        clock.now += SECOND
        run_id = retried(engine, run_id).run_id
        assert status(engine, run_id).deadline == clock.now + 60 * SECOND
        run = taken_up(engine)
        recorded(engine, Unit(run.fence, run.length, [BAD], [], End(Move.FAIL, error=ERROR)))


def test_a_retry_from_the_start_begins_a_generation_and_has_all_events_again() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine)
    sent(engine, run_id)
    run = taken_up(engine)
    took = Entry("event:told:0:1", True, Raw(b"1"), NOW, None, 0, (1,))
    recorded(engine, Unit(run.fence, 0, [took], [], End(Move.FAIL)))
    retried(engine, run_id, start=True)
    new = taken_up(engine)
    assert (new.generation, new.entries, [one.number for one in new.arrivals]) == (1, [], [1])


def test_the_next_generation_hears_events_and_nothing_that_the_last_has_asked_for() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine)
    sent(engine, run_id)
    run = taken_up(engine)
    recorded(engine, Unit(run.fence, 0, [GOOD], [], ops=[SendOp(new_id(7), new_id(8), "lost")]))
    assert [one.kind for one in engine.answer(Inbox(run_id)).arrivals] == ["event", "op"]
    recorded(engine, Unit(run.fence, 1, [], [], End(Move.CONTINUE, input=Raw(b'{"n":2}'))))
    new = taken_up(engine)
    assert (new.generation, bytes(new.input), new.entries) == (1, b'{"n":2}', [])
    assert [one.kind for one in new.arrivals] == ["event"]
