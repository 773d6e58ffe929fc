"""What the engine in memory answers to people and tools."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import NotFound, UsageError
from aiki.core.states import Move, State
from aiki.testing.engine import Engine
from aiki.wire.messages import (
    End,
    Find,
    History,
    Input,
    ListRuns,
    Send,
    Sent,
    Storage,
    Summary,
    SummaryRow,
    Unit,
    Watch,
    Workflows,
)
from tests.unit.testing.asking import ROUTE, Clock, claimed, enqueued, entry, new_id, recorded, session


def test_a_story_tells_moves_outcomes_and_unread_events_in_order() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine)
    worker = session(engine)
    (run,) = claimed(engine, worker)
    recorded(engine, Unit(run.fence, 0, [entry()], []))
    engine.lose(worker)
    (again,) = claimed(engine, session(engine))
    engine.answer(Send([Sent(run_id, new_id(99), "told")]))
    recorded(engine, Unit(again.fence, 1, [entry("task:b:0:1")], [], End(Move.FAIL, why="so")))
    items = engine.answer(History(run_id)).items
    assert [(one.move, one.key, one.reason, one.actor) for one in items] == [
        ("enqueued", None, None, None),
        ("claim", None, None, "worker-1"),
        ("entry", "task:hello:0123:1", None, None),
        ("rescue", None, "worker worker-1 lost its lease", None),
        ("claim", None, None, "worker-1"),
        ("entry", "task:b:0:1", None, None),
        ("fail", None, "so", None),
        ("event", "event:told", None, None),
    ]


def test_lists_begin_with_the_newest_and_go_on_from_their_cursors() -> None:
    engine = Engine(Clock())
    ids = [enqueued(engine, number, labels={"odd": str(number % 2)}) for number in range(1, 6)]
    first = engine.answer(ListRuns(limit=3))
    rest = engine.answer(ListRuns(limit=3, cursor=first.cursor))
    assert [run.id for run in (*first.runs, *rest.runs)] == ids[::-1]
    assert rest.cursor is None
    assert [run.id for run in engine.answer(ListRuns(labels={"odd": "0"})).runs] == [ids[3], ids[1]]
    assert engine.answer(ListRuns(states=[State.QUEUED], counts=True)).count == 5


def test_lists_are_by_keys_versions_errors_workers_and_retries_as_of_aikid() -> None:
    engine = Engine(Clock())
    keys = ("order-2", "order-10", "order", "Order-1")
    ids = [enqueued(engine, place + 1, key=key, priority=place) for place, key in enumerate(keys)]
    (run,) = claimed(engine, session(engine))
    failed = Raw(b'{"type":"TimeoutError","message":"m"}')
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.FAIL, error=failed)))

    def listed(**words: Any) -> list[str]:
        reply = engine.answer(ListRuns(**words))
        assert reply.heeded == ListRuns(**words).narrowed
        return [one.id for one in reply.runs]

    assert listed(key="order-2") == [ids[0]]
    assert listed(key_prefix="order") == [ids[2], ids[1], ids[0]], "in the order of keys"
    first = engine.answer(ListRuns(key_prefix="order", limit=1))
    assert listed(key_prefix="order", cursor=first.cursor) == [ids[1], ids[0]]
    assert listed(workflow="greet", version="2") == []
    assert listed(priority=2) == [ids[2]]
    assert listed(error="TimeoutError") == listed(worker="worker-1") == [run.fence.run_id]
    assert listed(error="Timeout") == listed(worker="worker") == listed(not_version="1") == listed(retried=True) == []
    assert len(listed(retried=False)) == 4


def test_references_inputs_and_counts_are_answered() -> None:
    engine = Engine(Clock())
    run_id = enqueued(engine, 1, priority=3)
    session(engine)
    assert engine.answer(Find(run_id[-12:])).ids == [run_id]
    assert engine.answer(Find("greet@none")).ids == []
    assert bytes(engine.answer(Input(run_id)).input) == b'{"name":"Ada"}'
    assert engine.answer(Summary()).rows == [SummaryRow(*ROUTE, State.QUEUED, 1)]
    (size,) = engine.answer(Storage()).workflows
    assert (size.workflow, size.runs, size.ended, size.bytes) == ("greet", 1, 0, len(b'{"name":"Ada"}'))
    assert [(route.workflow, route.live) for route in engine.answer(Workflows()).routes] == [("greet", True)]


def test_what_is_not_there_or_makes_no_sense_is_refused() -> None:
    engine = Engine(Clock())
    with pytest.raises(NotFound, match="there is no run"):
        engine.answer(History(new_id(1)))
    with pytest.raises(UsageError, match="cursor"):
        engine.answer(ListRuns(cursor="x"))
    with pytest.raises(UsageError, match="is not a run"):
        engine.answer(Find("x"))


def test_a_watcher_hears_of_an_end_once() -> None:
    engine = Engine(Clock())
    heard: list[tuple[str, Any]] = []
    engine.on_news = lambda inbox, news: heard.append((inbox, news))
    run_id = enqueued(engine)
    engine.answer(Watch([run_id], "_INBOX.me", 60))
    (run,) = claimed(engine, session(engine))
    assert not heard
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.COMPLETE, output=Raw(b"1"))))
    assert [(inbox, one.id, one.state) for inbox, news in heard for one in news.runs] == [
        ("_INBOX.me", run_id, State.COMPLETED)
    ]
