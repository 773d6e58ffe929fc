"""A run that was woken goes to a worker that has leave for its route, by a claim that the daemon makes for it."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.wire.limits import HANDED_RUNS
from aiki.wire.messages import Route
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from aikid.engine import claims, handing, timers
from aikid.engine.changes import Changes
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, entry, event, parked, unit

pytestmark = pytest.mark.anyio

ROUTE = ("default", WORKFLOW, VERSION)


async def waiting(engine: Engine, session: str, count: int = 1, **fields: object) -> list[str]:
    """Return runs that have recorded an entry and wait for an event."""
    ids = [await engine.queued_run(**fields) for _ in range(count)]
    units = [unit(run.fence, 0, entry(), end=parked(0, "event:approved")) for run in await engine.claim(session)]
    assert set(await engine.results(*units)) == {"done"}
    return ids


async def woken(engine: Engine, *ids: str) -> Changes:
    """Send each run what it waits for."""
    return (await engine.sent(*map(event, ids))).changes


async def hand_over(engine: Engine, changes: Changes, *, room: int | None = None) -> Changes:
    return await handing.hand_over(engine.pool, engine.leaves, changes.woken, room=room or engine.room)


async def test_a_woken_run_is_claimed_for_a_worker_with_leave_and_brings_what_reached_it(engine: Engine) -> None:
    session = await engine.session()
    (run_id,) = await waiting(engine, session)
    engine.park(session, 1)
    changes = await woken(engine, run_id)
    changes.add(await hand_over(engine, changes))
    (told,) = changes.handed
    (run,) = told.runs
    assert (told.line.session, told.first, run.fence.run_id) == (session, 1, run_id)
    assert ([arrival.name for arrival in run.arrivals], run.news, run.entries) == (["approved"], 1, [entry()])
    assert changes.queued[ROUTE] == 0, "no hint is due for it"
    assert await engine.history(run_id) == ["enqueued", "claim", "wait", "arrive", "claim"]
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]


async def test_nothing_is_claimed_for_who_has_no_leave_left(engine: Engine) -> None:
    session = await engine.session()
    ids = await waiting(engine, session, 2)
    assert (await hand_over(engine, await woken(engine, ids[0]))).handed == []
    engine.park(session, 1)
    assert len((await hand_over(engine, await woken(engine, ids[1]))).handed) == 1
    assert engine.leaves.lend(ROUTE, 1) is None


async def test_who_is_before_it_in_the_queue_is_handed_over_in_its_stead(engine: Engine) -> None:
    session = await engine.session()
    (run_id,) = await waiting(engine, session)
    first = await engine.queued_run(priority=5)
    engine.park(session, 1)
    (told,) = (await hand_over(engine, await woken(engine, run_id))).handed
    assert [run.fence.run_id for run in told.runs] == [first]
    assert await engine.state(run_id) is State.QUEUED


async def test_no_more_are_claimed_than_were_promised_together(engine: Engine) -> None:
    session = await engine.session()
    ids = await waiting(engine, session, 5)
    engine.park(session, 3)
    (told,) = (await hand_over(engine, await woken(engine, *ids))).handed
    assert [run.fence.run_id for run in told.runs] == ids[:3]
    assert told.line.left == 0
    told.line.settle(told.first, 3)
    assert engine.park(session, 3 + HANDED_RUNS, line=told.line.id).settled == 3


async def test_a_session_that_has_ended_gets_nothing_and_is_forgotten(engine: Engine) -> None:
    session = await engine.session()
    (run_id,) = await waiting(engine, session)
    engine.park(session, 5)
    await engine.close(session)
    assert (await hand_over(engine, await woken(engine, run_id))).handed == []
    assert await engine.state(run_id) is State.QUEUED
    assert engine.leaves.lend(ROUTE, 1) is None


async def test_a_sleeper_is_handed_over_when_its_time_has_come(engine: Engine) -> None:
    session = await engine.session()
    (run_id,) = await waiting(engine, session)
    await engine.execute("UPDATE aiki.runs SET state = 'sleeping', due_at = now()")
    engine.park(session, 1)
    async for changes in timers.wake(engine.pool):
        (told,) = (await hand_over(engine, changes)).handed
        assert [run.fence.run_id for run in told.runs] == [run_id]


async def test_what_nobody_received_is_queued_again_and_has_begun_as_before(engine: Engine) -> None:
    session = await engine.session()
    (run_id,) = await waiting(engine, session)
    begun = (await engine.status(run_id)).started_at
    engine.park(session, 1)
    (told,) = (await hand_over(engine, await woken(engine, run_id))).handed
    assert (await claims.take_back(engine.pool, told)).queued[ROUTE] == 1
    status = await engine.status(run_id)
    assert (status.state, status.started_at) == (State.QUEUED, begun)
    assert await engine.results(unit(told.runs[0].fence, 1, end=completed())) == ["fenced"]
    run = await engine.claim_one(session)
    assert (run.fence.epoch, run.length, run.news) == (told.runs[0].fence.epoch + 1, 1, 1)


async def test_what_fits_no_message_together_waits_for_claims(engine: Engine) -> None:
    engine.room = MAX_PAYLOAD_LEAST
    session = await engine.session(routes=[Route(WORKFLOW, VERSION)])
    large = Raw(b'"%s"' % (b"x" * (MAX_PAYLOAD_LEAST // 3)))
    ids = [await engine.queued_run(input=large) for _ in range(3)]
    claimed = [await engine.claim_one(session) for _ in ids]
    await engine.record(*(unit(run.fence, end=parked(0, "event:approved")) for run in claimed))
    engine.park(session, 3)
    changes = await woken(engine, *ids)
    changes.add(await hand_over(engine, changes))
    (told,) = changes.handed
    assert 1 <= len(told.runs) < 3
    assert changes.queued[ROUTE] == 3 - len(told.runs)
    assert told.line.left == 3 - len(told.runs), "what was not used is there for others"
