"""What the engine in memory says of itself at a glance: as aikid, from what it holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import Raw

from aiki import Retry, WorkflowRun, task, workflow
from aiki.client.workers import WorkerInfo
from aiki.core.states import Move, State
from aiki.rules.histograms import ERROR
from aiki.testing import TestEnv
from aiki.testing.engine import Engine
from aiki.wire.messages import End, OpenSession, QueueRow, RenewSession, Route, Summary, Unit, Workers
from tests.unit.testing.asking import ROUTE, Clock, claimed, enqueued, new_id, recorded, session

MINUTE = 60_000_000


def test_queues_say_since_when_the_first_waits_and_who_serves_them() -> None:
    clock = Clock()
    engine = Engine(clock)
    begin = clock.now
    enqueued(engine, 1)
    clock.now += MINUTE
    enqueued(engine, 2)
    session(engine)
    (queue,) = engine.answer(Summary()).queues
    assert queue == QueueRow(*ROUTE, 2, False, begin, 1)
    (run,) = claimed(engine, session(engine))
    clock.now += MINUTE
    recorded(engine, Unit(run.fence, 0, [], [], End(Move.RELEASE)))
    claimed(engine, session(engine), limit=1)
    (queue,) = engine.answer(Summary()).queues
    assert (queue.queued, queue.oldest_at) == (1, begin + MINUTE)


def test_rates_and_troubles_are_of_the_last_five_minutes_and_blocked_runs_of_all_time() -> None:
    clock = Clock()
    engine = Engine(clock)
    ids = [enqueued(engine, number) for number in range(1, 5)]
    ends = (
        End(Move.COMPLETE, output=Raw(b"1")),
        End(Move.FAIL, error=Raw(b'{"type":"ValueError","message":"no\\nluck"}')),
        End(Move.DIVERGE, why="it diverges\n+ this"),
    )
    for run, end in zip(claimed(engine, session(engine), limit=3), ends, strict=True):
        clock.now += 10_000_000
        recorded(engine, Unit(run.fence, 0, [], [], end))
    reply = engine.answer(Summary())
    (rate,) = reply.rates
    assert (rate.workflow, rate.minutes, rate.enqueued, rate.completed, rate.failed) == (ROUTE[0], 5, 4, 1, 1)
    assert rate.p50 is not None
    assert abs(rate.p50 - 10_000_000) <= ERROR * 10_000_000
    failed, blocked = reply.troubles
    assert (failed.state, failed.runs, failed.run_id, failed.error) == (State.FAILED, 1, ids[1], "ValueError: no luck")
    assert (blocked.state, blocked.run_id, blocked.error) == (State.BLOCKED, ids[2], "it diverges + this")
    clock.now += 6 * MINUTE
    reply = engine.answer(Summary())
    assert reply.rates == []
    assert [trouble.state for trouble in reply.troubles] == [State.BLOCKED]


def test_workers_are_listed_while_they_live() -> None:
    clock = Clock()
    engine = Engine(clock)
    assert engine.answer(OpenSession(new_id(7), "b", [Route(*ROUTE)], slots=3)).alive
    gone = session(engine)
    clock.now += MINUTE
    engine.answer(RenewSession(new_id(7), [], draining=True))
    engine.lose(gone)
    (one,) = engine.answer(Workers()).sessions
    assert (one.worker, one.slots, one.draining, one.routes, one.seen_at - one.since) == ("b", 3, True, [ROUTE], MINUTE)
    assert engine.answer(Summary()).sessions == [one]


def test_a_workflows_rate_comes_once_with_its_first_version() -> None:
    engine = Engine(Clock())
    session(engine)
    routes = [Route(f"flow-{n:03}", version) for n in range(75) for version in ("1", "2")]
    engine.answer(OpenSession(new_id(9), "many", routes))
    seen = []
    reply = engine.answer(Summary())
    while True:
        seen += [queue.workflow for queue in reply.queues]
        if reply.cursor is None:
            break
        assert reply.sessions
        reply = engine.answer(Summary(reply.cursor))
    assert reply.sessions == []
    assert len(seen) == 151


@task(retry=Retry.none())
def ship(order: int) -> None:
    raise ValueError("out of stock")


@workflow(version="3")
async def ordering(run: WorkflowRun, order: int) -> None:
    await run.sleep("10s")
    await ship.run(run, order)


@pytest.mark.anyio
async def test_a_test_sees_the_summary_and_the_worker_of_its_own() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(ordering, 1)
        await env.advance("10s")
        found = await env.client.runs.summary()
        (worker,) = await env.client.workers.list()
        assert isinstance(worker, WorkerInfo)
        assert found.sessions == [worker]
        (rate,) = found.rates
        assert (rate.enqueued, rate.failed) == (1, 1)
        assert rate.p50 == rate.p95
        assert abs((rate.p50 or timedelta()) - timedelta(seconds=10)) < timedelta(seconds=0.5)
        (trouble,) = found.troubles
        assert (trouble.run_id, trouble.version) == (handle.run_id, "3")
        assert "out of stock" in trouble.error
