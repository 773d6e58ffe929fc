"""The database's clock is set forward or back: what that does to leases, claims, timers and deadlines."""

from __future__ import annotations

import psycopg
import pytest

from aiki.core.states import Move, State
from aiki.wire.messages import End
from aiki.worker.session import CERTAIN
from tests.clocks import HOUR, set_database_clock
from tests.conformance.clock import Clock
from tests.integration.daemon.engine import Engine, completed, event, unit

pytestmark = pytest.mark.anyio


async def set_clock(engine: Engine, ahead_seconds: float) -> None:
    await set_database_clock(engine.database, ahead_seconds=ahead_seconds)


async def lease_seconds(engine: Engine, session: str) -> float:
    rows = await engine.execute(
        "SELECT extract(epoch FROM expires_at - aiki.now())::float8 FROM aiki.sessions WHERE id = %s", session
    )
    return float(rows[0][0])


async def test_statements_that_were_prepared_see_the_clock_that_was_set(engine: Engine) -> None:
    session = await engine.session()
    first = (await engine.renew(session)).now
    await set_clock(engine, HOUR)
    assert HOUR - 10 < ((await engine.renew(session)).now - first) / 1e6 < HOUR + 10


@pytest.mark.parametrize("ahead", [HOUR, 8.0])
async def test_a_clock_that_is_set_forward_ends_no_lease_and_counts_no_crash(engine: Engine, ahead: float) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    await engine.sweep()
    await set_clock(engine, ahead)
    assert await engine.rescue() == []
    # The worker trusts its lease for 0.8 of it, whatever the database's clock does meanwhile.
    assert await lease_seconds(engine, session) > 29
    assert (await engine.renew(session, run.fence.claim_id)).alive
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]
    assert await engine.history(run_id) == ["enqueued", "claim", "complete"]


async def test_between_the_step_and_the_next_sweep_nothing_is_claimed_and_nothing_is_lost(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.sweep()
    engine.park(session, 4)
    await set_clock(engine, HOUR)
    assert await engine.claim(session) == []
    other = await engine.queued_run()
    assert await engine.state(other) is State.QUEUED, "its leave has no time left by this clock"
    assert (await engine.sweep()).spared == 1
    assert {run.fence.run_id for run in await engine.claim(session)} == {run_id, other}


async def test_a_clock_that_is_set_back_keeps_no_dead_worker_alive(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session(ttl=1.0)
    await engine.claim_one(session)
    await engine.sweep()
    await set_clock(engine, -HOUR)
    assert await engine.rescue() == []
    assert await lease_seconds(engine, session) <= 1.0
    await set_clock(engine, -HOUR + 1.1)
    assert [one.id for one in await engine.rescue()] == [run_id]


async def test_a_lease_is_left_alone_by_what_a_time_server_corrects(engine: Engine) -> None:
    session = await engine.session()
    await engine.sweep()
    for ahead in (0.2, 0.0, -0.2, 0.0):
        await set_clock(engine, ahead)
        assert (await engine.sweep()).spared == 0
    assert 25 < await lease_seconds(engine, session) < 30.5


@pytest.mark.parametrize("step", [0.2, -0.2, 5.0, -5.0, 8.0, -8.0, HOUR, -HOUR])
async def test_no_lease_ends_while_its_worker_trusts_it_nor_lasts_for_long_after_that(
    engine: Engine, step: float
) -> None:
    """Workers come one after the other and are heard of no more; daemons sweep each second, and the clock is set."""
    ttl, set_at, second = 30.0, 30, 0
    await Clock(engine.database).stop()
    await engine.sweep()
    heard_at: dict[str, int] = {}
    buried_at: dict[str, int] = {}
    async with await psycopg.AsyncConnection.connect(engine.database, autocommit=True) as connection:
        while len(buried_at) < len(heard_at) or second < set_at:
            if second < set_at and second % 3 == 0:
                heard_at[await engine.session(ttl=ttl)] = second
            second += 1
            by = 1.0 + (step if second == set_at else 0.0)
            await connection.execute("UPDATE public.moment SET at = at + %s * interval '1 second'", [by])
            await engine.sweep()
            ended = await connection.execute("SELECT id::text FROM aiki.sessions WHERE closed_at IS NOT NULL")
            for (session,) in await ended.fetchall():
                buried_at.setdefault(session, second)
            assert second < set_at + 2 * ttl, "a session lasts"
    for session, heard in heard_at.items():
        assert buried_at[session] - heard >= CERTAIN * ttl
        assert buried_at[session] - max(heard, set_at) <= ttl + ttl / 5


async def test_a_claim_whose_reply_was_lost_is_found_though_the_clock_was_set_back(engine: Engine) -> None:
    session = await engine.session()
    await engine.queued_run()
    lost = await engine.claim_one(session)
    assert (await engine.renew(session)).unlisted == [], "its reply may be on the way"
    await set_clock(engine, -HOUR)
    assert (await engine.renew(session)).unlisted == [lost.fence]


async def test_a_session_that_was_closed_later_than_now_is_not_looked_at_for_ever(engine: Engine) -> None:
    await engine.close(await engine.session())
    assert (await engine.sweep()).closed_seconds is not None
    await set_clock(engine, -HOUR)
    assert (await engine.sweep()).closed_seconds is None


async def test_a_sleep_is_due_by_the_clock_that_was_set(engine: Engine) -> None:
    ahead, behind = [await engine.queued_run() for _ in range(2)]
    now = (await engine.renew(await engine.session())).now
    for run in await engine.claim(await engine.session()):
        await engine.record(unit(run.fence, end=End(Move.SLEEP, due_at=now + 1_800_000_000)))
    await engine.execute("UPDATE aiki.runs SET due_at = due_at - interval '1 hour' WHERE id = %s", behind)
    await set_clock(engine, -HOUR)
    assert await engine.wake() == [], "half an hour ago is half an hour ahead"
    await set_clock(engine, HOUR)
    assert await engine.wake() == [behind, ahead], "in the order of their dates"
    await set_clock(engine, -HOUR)
    assert await engine.wake() == [], "one that was woken is not woken again"


async def test_deadlines_pass_by_the_clock_that_was_set_and_pass_once(engine: Engine) -> None:
    run_id = await engine.queued_run(timeout=1_800_000_000)
    await set_clock(engine, -HOUR)
    assert await engine.pass_deadlines() == {}
    await set_clock(engine, HOUR)
    assert list(await engine.pass_deadlines()) == [run_id]
    await set_clock(engine, 0)
    await set_clock(engine, HOUR)
    assert await engine.pass_deadlines() == {}
    assert await engine.state(run_id) is State.FAILED


async def test_arrivals_keep_their_order_though_the_clock_was_set_back(engine: Engine) -> None:
    run_id = await engine.queued_run()
    for place, ahead in enumerate((0, -HOUR, HOUR, -HOUR)):
        await set_clock(engine, ahead)
        await engine.send(event(run_id, f"event-{place}"))
    arrivals = (await engine.inbox(run_id)).arrivals
    assert [one.name for one in arrivals] == [f"event-{place}" for place in range(4)]
    assert [one.at for one in arrivals] == sorted({one.at for one in arrivals})


async def test_runs_are_claimed_by_priority_and_then_as_the_clock_dates_them(engine: Engine) -> None:
    first, urgent = await engine.queued_run(), await engine.queued_run(priority=5)
    await set_clock(engine, -HOUR)
    dated_back = await engine.queued_run()
    session = await engine.session()
    claimed = [(await engine.claim_one(session)).fence.run_id for _ in range(3)]
    assert claimed == [urgent, dated_back, first]
