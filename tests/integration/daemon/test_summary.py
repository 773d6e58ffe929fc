"""What is told of a namespace at a glance: what waits and since when, who works, and what is amiss."""

from __future__ import annotations

import uuid

import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move, State
from aiki.wire.limits import COUNTED_RUNS, MESSAGE_BYTES, SESSION_ROUTES, SUMMED_SESSIONS
from aiki.wire.messages import (
    End,
    OpenSession,
    QueueRow,
    RenewSession,
    Route,
    SessionRow,
    Summary,
    SummaryReply,
    SummaryRow,
    TroubleRow,
    Workers,
    WorkersReply,
)
from aikid.engine import sessions
from aikid.engine.summary import Capped, summary, workers
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, new_run, unit

pytestmark = pytest.mark.anyio
SECOND = 1_000_000


async def told(engine: Engine, *, room: int = MESSAGE_BYTES, cursor: str | None = None) -> SummaryReply:
    return await summary(engine.pool, engine.namespace, Summary(cursor), room)


async def opened(engine: Engine, worker: str = "w", *, slots: int | None = None, routes: int = 1) -> str:
    session = str(uuid.uuid4())
    served = [Route(WORKFLOW if n == 0 else f"other-{n:03}", VERSION) for n in range(routes)]
    request = OpenSession(session, worker, served, 30.0, slots)
    assert (
        await sessions.open_session(engine.pool, engine.routes, engine.namespace, request, room=MESSAGE_BYTES)
    ).alive
    return session


async def moved_back(engine: Engine, run_id: str, seconds: int, *columns: str) -> None:
    """Have a run's dates be so much earlier."""
    for column in columns:
        await engine.execute(
            f"UPDATE aiki.runs SET {column} = {column} - %s * interval '1 second' WHERE id = %s", seconds, run_id
        )


async def now_of(engine: Engine) -> int:
    """Return the database's clock."""
    ((now,),) = await engine.execute("SELECT (extract(epoch FROM aiki.now()) * 1000000)::bigint")
    return int(now)


async def oldest(engine: Engine) -> float:
    """Return the seconds since which a run of the tests' workflow waits."""
    (queue,) = (await told(engine)).queues
    assert queue.oldest_at is not None
    return (await now_of(engine) - queue.oldest_at) / SECOND


async def test_a_queue_says_how_many_wait_how_long_the_first_does_and_who_serves_it(engine: Engine) -> None:
    assert (await told(engine)).queues == []
    await opened(engine, "a")
    await opened(engine, "b")
    gone = await opened(engine, "gone")
    await engine.close(gone)
    old = await engine.queued_run(priority=-3)
    await engine.queued_run()
    await moved_back(engine, old, 600, "created_at")
    (queue,) = (await told(engine)).queues
    assert (queue.workflow, queue.version, queue.queued, queue.capped, queue.workers) == (
        WORKFLOW,
        VERSION,
        2,
        False,
        2,
    )
    assert 600 <= await oldest(engine) < 660


async def test_who_was_due_later_or_has_begun_does_not_wait_since_its_creation(engine: Engine) -> None:
    later = await engine.queued_run(delay=3600 * SECOND)
    await engine.execute(
        "UPDATE aiki.runs SET state = 'queued', created_at = created_at - interval '2 h',"
        " due_at = aiki.now() - interval '100 s' WHERE id = %s",
        later,
    )
    assert 100 <= await oldest(engine) < 160
    begun = await engine.claim_one()
    await engine.record(unit(begun.fence, end=End(Move.RELEASE)))
    await moved_back(engine, begun.fence.run_id, 50, "last_claimed_at")
    assert 50 <= await oldest(engine) < 100


async def test_no_more_of_any_state_are_counted_than_are_told(engine: Engine) -> None:
    await engine.queued_run()
    many = COUNTED_RUNS + 5
    for state in ("queued", "waiting"):
        await engine.execute(
            "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input)"
            " SELECT gen_random_uuid(), gen_random_uuid(), %s, %s, %s, %s, '1' FROM generate_series(1, %s)",
            engine.namespace,
            WORKFLOW,
            VERSION,
            state,
            many,
        )
    reply = await told(engine)
    assert {row.state: (row.runs, row.capped) for row in reply.rows} == {
        State.QUEUED: (COUNTED_RUNS, True),
        State.WAITING: (COUNTED_RUNS, True),
    }
    assert [(queue.queued, queue.capped) for queue in reply.queues] == [(COUNTED_RUNS, True)]


async def test_ended_runs_that_were_more_than_is_told_are_not_counted_again_within_a_minute(engine: Engine) -> None:
    now = 0.0
    capped = Capped(clock=lambda: now)
    await engine.queued_run()
    await engine.execute(
        "INSERT INTO aiki.ended (namespace, workflow, version, state, created_at, run_id)"
        " SELECT %s, %s, %s, 'completed', aiki.now(), gen_random_uuid() FROM generate_series(1, %s)",
        engine.namespace,
        WORKFLOW,
        VERSION,
        COUNTED_RUNS + 1,
    )
    rows = (await summary(engine.pool, engine.namespace, Summary(), MESSAGE_BYTES, capped=capped)).rows
    assert rows == [
        SummaryRow(WORKFLOW, VERSION, State.COMPLETED, COUNTED_RUNS, capped=True),
        SummaryRow(WORKFLOW, VERSION, State.QUEUED, 1),
    ]
    await engine.execute("DELETE FROM aiki.ended")
    assert (await summary(engine.pool, engine.namespace, Summary(), MESSAGE_BYTES, capped=capped)).rows == rows
    now = 60.0
    assert (await summary(engine.pool, engine.namespace, Summary(), MESSAGE_BYTES, capped=capped)).rows == rows[1:]


async def test_sessions_say_what_they_hold_serve_and_take_and_when_they_were_seen(engine: Engine) -> None:
    session = await opened(engine, "worker \u202e\x1b[31m ünï", slots=7, routes=SESSION_ROUTES + 3)
    await engine.enqueue(new_run(), new_run(), new_run())
    first, *_ = await engine.claim(session, limit=2)
    await engine.record(unit(first.fence, end=completed()))
    (one,) = (await told(engine)).sessions
    assert one == SessionRow(
        "worker \u202e\x1b[31m ünï", session, one.since, one.seen_at, 1, 7, False, one.routes, SESSION_ROUTES + 3
    )
    assert one.since == one.seen_at
    assert one.routes == sorted(one.routes)
    assert len(one.routes) == SESSION_ROUTES
    request = RenewSession(session, [], draining=True)
    await sessions.renew_sessions(engine.pool, [(engine.namespace, request)], room=engine.room)
    await engine.renew(session)
    (one,) = (await told(engine)).sessions
    assert one.draining
    assert one.seen_at > one.since


async def test_of_many_workers_a_summary_shows_the_first_and_the_list_all(engine: Engine, rival: Engine) -> None:
    names = [f"w{n:03}" for n in range(SUMMED_SESSIONS + 5)]
    ids = {await opened(engine, name): name for name in reversed(names)}
    dead, closed = await opened(engine, "dead"), await opened(engine, "closed")
    await engine.close(closed)
    await engine.execute("UPDATE aiki.sessions SET expires_at = aiki.now() WHERE id = %s", dead)
    rival.namespace = "other"
    await opened(rival, "theirs")
    reply = await told(engine)
    assert [one.worker for one in reply.sessions] == names[:SUMMED_SESSIONS]
    assert reply.workers == len(names)
    assert reply.sessions[0].slots is None
    found: list[SessionRow] = []
    page = WorkersReply([], None)
    while not found or page.cursor is not None:
        page = await workers(engine.pool, engine.namespace, Workers(page.cursor), 8_000)
        found += page.sessions
    assert {one.id: one.worker for one in found} == ids
    assert [one.id for one in found] == sorted(ids)
    with pytest.raises(UsageError, match="cursor"):
        await workers(engine.pool, engine.namespace, Workers("\0"), MESSAGE_BYTES)


async def test_two_thousand_workflows_come_in_pages_that_fit(engine: Engine) -> None:
    routes = [Route(f"flow-{n:04}", VERSION) for n in range(2_000)]
    await engine.session(routes=routes)
    await engine.enqueue(*[new_run(workflow=route.workflow, version=VERSION) for route in routes[:1_000]])
    queues: list[QueueRow] = []
    reply = SummaryReply([], 0, "0")
    pages = 0
    while reply.cursor is not None:
        reply = await told(engine, cursor=reply.cursor)
        queues += reply.queues
        pages += 1
    assert [(queue.workflow, queue.queued) for queue in queues] == [
        (route.workflow, int(n < 1_000)) for n, route in enumerate(routes)
    ]
    assert pages <= 40


async def test_blocked_runs_are_told_of_with_the_newest_and_why_in_a_line(engine: Engine) -> None:
    session = await opened(engine)
    for number in range(3):
        await engine.queued_run()
        (run,) = await engine.claim(session)
        await engine.record(unit(run.fence, end=End(Move.DIVERGE, why=f"it\ndiverges\t{number} " + "x" * 500)))
    (trouble,) = (await told(engine)).troubles
    assert trouble == TroubleRow(
        WORKFLOW, VERSION, State.BLOCKED, 3, run.fence.run_id, trouble.at, f"it diverges 2 {'x' * 185}…"
    )
    assert abs(await now_of(engine) - trouble.at) < 60 * SECOND
