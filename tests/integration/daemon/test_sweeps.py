"""P6: what a dead worker held goes on; timers fire; nobody is taken for dead because the daemon was."""

import asyncio
from typing import Any

import pytest

from aiki.core.states import Move, State
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import End, OpenSession, Route
from aikid.app import App
from aikid.engine.sessions import open_session
from aikid.store import rescue, sessions
from aikid.store.rescue import Lost
from tests.integration.daemon.engine import Engine, entry, locked, new_id, unit
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


async def crash(engine: Engine, run_id: str, *entries: str, base: int = 0) -> Move:
    """Let a worker claim the run, record entries and die; return what the rescuer made of it."""
    session = await engine.session()
    await engine.execute("UPDATE aiki.runs SET due_at = now() WHERE state = 'retrying'")
    await engine.wake()
    run = await engine.claim_one(session)
    assert run.fence.run_id == run_id
    if entries:
        assert await engine.results(unit(run.fence, base, *map(entry, entries))) == ["done"]
    await engine.expire(session)
    (rescued,) = await engine.rescue()
    return rescued.move


async def test_the_runs_of_a_dead_worker_are_queued_again(engine: Engine) -> None:
    run_id = await engine.queued_run()
    assert await crash(engine, run_id) is Move.RESCUE
    assert await engine.state(run_id) is State.QUEUED
    assert await engine.history(run_id) == ["enqueued", "claim", "rescue"]
    assert await engine.rescue() == []


async def test_a_run_that_kills_its_workers_backs_off_and_is_blocked(engine: Engine) -> None:
    run_id = await engine.queued_run()
    events = [await crash(engine, run_id) for _ in range(5)]
    assert events == [Move.RESCUE, Move.BACK_OFF, Move.BACK_OFF, Move.BACK_OFF, Move.CRASH_LOOP]
    status = await engine.status(run_id)
    assert status.state is State.BLOCKED
    # Whether it died or was only held up the daemon cannot know: it says what it has seen, and what helps.
    assert (status.why or "").startswith("crash_loop: its worker lost its lease 5 times without progress")
    assert '@task(executor="process")' in (status.why or "")


async def test_the_back_off_doubles(engine: Engine) -> None:
    run_id = await engine.queued_run()
    delays = []
    for _ in range(4):
        await crash(engine, run_id)
        status = await engine.status(run_id)
        delays.append(None if status.due_at is None else status.due_at - await now(engine))
    assert delays[0] is None
    for delay, seconds in zip(delays[1:], (2, 4, 8), strict=True):
        assert delay is not None
        assert seconds - 1.5 < delay / 1e6 <= seconds


async def now(engine: Engine) -> int:
    return int((await engine.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint"))[0][0])


async def test_progress_forgives_crashes(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await crash(engine, run_id)
    events = [await crash(engine, run_id, f"t{base}", base=base) for base in range(6)]
    assert set(events) == {Move.RESCUE}
    assert await crash(engine, run_id) is Move.BACK_OFF


async def test_closing_a_session_queues_its_runs_at_once_and_fences_it(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    assert await engine.close(session) == [run_id]
    assert await engine.close(session) == []
    assert await engine.results(unit(run.fence, 0, entry("a"))) == ["fenced"]
    assert await engine.history(run_id) == ["enqueued", "claim", "release"]
    assert (await engine.claim_one()).suspect is False


async def hold_many(engine: Engine, count: int) -> str:
    """Return a session that holds so many runs."""
    session = await engine.session()
    await engine.execute(
        "INSERT INTO aiki.runs"
        " (id, origin_id, namespace, workflow, version, state, input, epoch, session_id, claim_id, last_claimed_at)"
        " SELECT id, id, %s, 'flow', '1.0', 'running', '{}', 1, %s, 'claim', now()"
        " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS made",
        engine.namespace,
        session,
        count,
    )
    return session


async def test_of_very_many_runs_a_closed_session_leaves_some_to_the_rescuer(engine: Engine) -> None:
    session = await hold_many(engine, rescue.TAKEN + 10)
    assert len(await engine.close(session)) == rescue.TAKEN
    assert {one.move for one in await engine.rescue()} == {Move.RELEASE}
    assert await engine.execute("SELECT DISTINCT state FROM aiki.runs") == [("queued",)]


async def test_one_sweep_takes_all_runs_of_a_dead_session(app: App, engine: Engine) -> None:
    session = await hold_many(engine, 2 * rescue.TAKEN + 10)
    await engine.expire(session)

    async def nothing_runs() -> Any:
        return await engine.execute("SELECT DISTINCT state FROM aiki.runs") == [("queued",)]

    await wait_until(nothing_runs)
    seconds = await engine.execute("SELECT extract(epoch FROM max(at) - min(at))::float8 FROM aiki.run_history")
    assert seconds[0][0] < patient(1)


async def test_what_ended_sessions_served_is_forgotten_and_they_are_later(engine: Engine) -> None:
    alive, *ended = [await engine.session() for _ in range(103)]
    await engine.execute("UPDATE aiki.sessions SET closed_at = now() WHERE id <> %s", alive)
    await engine.execute("UPDATE aiki.sessions SET closed_at = now() - interval '2 h' WHERE id = %s", ended[0])
    await engine.pool.run(rescue.forget_sessions)
    assert await engine.execute("SELECT session_id::text FROM aiki.session_routes") == [(alive,)]
    kept = await engine.execute("SELECT id::text FROM aiki.sessions")
    assert {row[0] for row in kept} == {alive, *ended[1:]}


async def test_a_renewal_never_revives_a_session(engine: Engine) -> None:
    alive, buried, closed = [await engine.session() for _ in range(3)]
    await engine.expire(buried)
    await engine.rescue()
    await engine.close(closed)
    assert [(await engine.renew(session)).alive for session in (alive, buried, closed)] == [True, False, False]


async def test_a_late_renewal_is_in_time_while_nobody_has_taken_the_runs(engine: Engine) -> None:
    """After an outage renewals may come before the rescuer's amnesty."""
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    await engine.expire(session)
    assert await engine.claim(session) == []
    assert (await engine.renew(session, run.fence.claim_id)).alive is True
    assert await engine.rescue() == []
    assert await engine.state(run_id) is State.RUNNING


async def test_the_rescuer_that_waits_for_a_renewal_finds_the_session_alive(engine: Engine) -> None:
    session = await engine.session()
    await engine.expire(session)
    renewal = "UPDATE aiki.sessions SET expires_at = now() + ttl WHERE id = %s"
    async with locked(engine.database, renewal, session) as renewing:
        assert await engine.rescue() == []
        await renewing.commit()
    assert await engine.rescue() == []
    assert (await engine.renew(session)).alive is True


@pytest.mark.parametrize("statements", [1, 2])
async def test_the_next_sweep_goes_on_where_another_was_cut_off(engine: Engine, rival: Engine, statements: int) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    await engine.expire(session)
    assert (await engine.sweep()).buried == 1
    if statements == 2:
        assert await engine.pool.run(lambda c: rescue.fence(c, Lost.OF_CLOSED)) == 1
        assert await engine.results(unit(run.fence, 0, entry("a"))) == ["fenced"]
    assert await engine.state(run_id) is State.RUNNING
    (rescued,) = await rival.rescue()
    assert (rescued.id, rescued.move) == (run_id, Move.RESCUE)


async def test_a_worker_that_left_is_no_crash_whoever_takes_its_runs(engine: Engine, rival: Engine) -> None:
    """The daemon that closed the session was cut off before it took the runs."""
    run_id = await engine.queued_run()
    for _ in range(6):
        session = await engine.session()
        await engine.claim_one(session)
        await engine.pool.run(lambda c, s=session: sessions.close(c, "default", s))  # type: ignore[misc]
        (left,) = await rival.rescue()
        assert (left.id, left.move) == (run_id, Move.RELEASE)
    assert await engine.state(run_id) is State.QUEUED


async def test_progress_that_is_committed_while_the_rescuer_waits_for_it_counts(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await crash(engine, run_id)
    session = await engine.session()
    await engine.claim_one(session)
    await engine.expire(session)
    async with locked(engine.database, "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE", run_id) as recording:
        rescuing = asyncio.create_task(engine.rescue())
        await engine.until_waiting()
        await recording.execute(
            "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value) VALUES (%s, 1, true, 1, 'task:x:0:0', '1')",
            (run_id,),
        )
        await recording.commit()
    assert [one.move for one in await rescuing] == [Move.RESCUE]


async def test_a_running_run_without_a_session_is_found(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.claim_one()
    await engine.execute("DELETE FROM aiki.sessions")
    assert [one.id for one in await engine.rescue()] == [run_id]


async def test_after_a_gap_nobody_is_taken_for_dead(engine: Engine) -> None:
    session, dead_before = await engine.session(ttl=10.0), await engine.session(ttl=10.0)
    await engine.expire(session)
    await engine.execute("UPDATE aiki.sweeps SET swept_at = now() - interval '6 s'")
    await engine.execute("UPDATE aiki.sessions SET expires_at = now() - interval '7 s' WHERE id = %s", dead_before)
    swept = await engine.sweep()
    assert (swept.spared, swept.buried) == (1, 1)
    assert (await engine.renew(session)).alive is True
    assert (await engine.renew(dead_before)).alive is False
    await engine.expire(session)
    assert (await engine.sweep()).spared == 0


async def test_the_time_between_two_sweeps_is_no_gap_even_for_the_shortest_lease(engine: Engine) -> None:
    """Else a dead worker's lease of a second would be prolonged at each sweep, and its runs never rescued."""
    session = await engine.session(ttl=1.0)
    await engine.expire(session)
    await engine.execute("UPDATE aiki.sweeps SET swept_at = now() - interval '600 ms'")
    swept = await engine.sweep()
    assert (swept.spared, swept.buried) == (0, 1)
    assert (await engine.renew(session)).alive is False


async def test_a_sleeping_run_wakes_when_it_is_due(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, end=End(Move.SLEEP, due_at=await now(engine) + 60_000_000)))
    assert (await engine.state(run_id), await engine.wake()) == (State.SLEEPING, [])
    await engine.execute("UPDATE aiki.runs SET due_at = now()")
    assert await engine.wake() == [run_id]
    assert (await engine.status(run_id)).due_at is None


async def test_a_living_session_serves_what_a_repeat_names_beside_and_an_ended_one_does_not(engine: Engine) -> None:
    async def opened(*workflows: str) -> bool:
        request = OpenSession(session, "worker-1", [Route(workflow, "1") for workflow in workflows])
        return (await open_session(engine.pool, engine.routes, engine.namespace, request, room=MESSAGE_BYTES)).alive

    async def serves() -> list[tuple[Any, ...]]:
        return await engine.execute("SELECT workflow FROM aiki.session_routes ORDER BY workflow")

    session = new_id()
    assert await opened("a")
    assert await opened("a", "b")
    assert await serves() == [("a",), ("b",)]
    await engine.close(session)
    assert not await opened("c")
    assert ("c",) not in await serves()
