"""Why runs do not move, as a daemon reads it: each reason provoked on a real Postgres."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from aiki.core.reasons import Kind, Reason
from aiki.core.states import Move, State
from aiki.wire.codec import encode
from aiki.wire.messages import Attempt, Cancel, End, Explained, Failure, ImportedFrom, Pause, Route, Why
from aikid.engine import control, why
from tests.integration.daemon.engine import (
    VERSION,
    WORKFLOW,
    Engine,
    completed,
    entry,
    event,
    new_id,
    parked,
    unit,
)

pytestmark = pytest.mark.anyio

FAILURE = Raw(encode(Failure("OSError", "no route")))


async def explained(engine: Engine, run_id: str, **how: Any) -> Explained:
    """Return why a run does not move."""
    reply = await why.answer(engine.pool, engine.namespace, Why([run_id]), room=engine.room, **how)
    (one,) = reply.runs
    assert one.id == run_id
    return one


async def main(engine: Engine, run_id: str, **how: Any) -> Reason:
    return (await explained(engine, run_id, **how)).reasons[0]


async def test_a_run_that_is_not_there_is_left_out(engine: Engine) -> None:
    reply = await why.answer(engine.pool, engine.namespace, Why([new_id()]), room=engine.room)
    assert (reply.runs, reply.rest) == ([], 0)


async def test_nobody_has_ever_served_the_route(engine: Engine) -> None:
    found = await main(engine, await engine.queued_run())
    assert (found.kind, found.workflow, found.version) == (Kind.UNSERVED, WORKFLOW, VERSION)
    assert (found.versions, found.until, found.state) == ([], None, None)


async def test_live_workers_serve_other_versions_and_the_last_that_served_it_has_ended(engine: Engine) -> None:
    left = await engine.session()
    await engine.session(routes=[Route(WORKFLOW, "2.0")])
    await engine.close(left)
    found = await main(engine, await engine.queued_run())
    assert (found.kind, found.versions, found.state) == (Kind.UNSERVED, ["2.0"], "known")
    assert found.until is not None


async def test_a_queued_run_is_behind_those_of_higher_priority_and_those_that_were_earlier(engine: Engine) -> None:
    session = await engine.session()
    begun = await engine.queued_run()
    assert await engine.results(unit((await engine.claim_one(session)).fence, end=End(Move.RELEASE))) == ["done"]
    for priority in (0, 5, 7):
        await engine.queued_run(priority=priority)
    run_id = await engine.queued_run()
    await engine.queued_run()
    found = await main(engine, run_id)
    assert (found.kind, found.ahead, found.higher, found.capped) == (Kind.BEHIND, 4, 2, False)
    assert (found.workers, found.held, found.estimate) == (1, 0, None)
    first = await main(engine, begun)
    assert (first.kind, first.ahead, first.higher) == (Kind.BEHIND, 2, 2)


async def test_the_estimate_is_by_those_that_have_ended_lately(engine: Engine) -> None:
    session = await engine.session()
    for _ in range(10):
        await engine.queued_run()
    ended = [unit(run.fence, end=completed()) for run in await engine.claim(session)]
    assert await engine.results(*ended) == ["done"] * 10
    await engine.execute("UPDATE aiki.runs SET finished_at = now() - interval '20 s'")
    for _ in range(5):
        await engine.queued_run()
    found = await main(engine, await engine.queued_run())
    assert (found.kind, found.ahead) == (Kind.BEHIND, 5)
    assert found.estimate is not None
    assert found.estimate == pytest.approx(10_000_000, rel=0.5)


async def test_nobody_is_before_it_and_its_workers_hold_others(engine: Engine) -> None:
    session = await engine.session()
    await engine.queued_run()
    await engine.claim_one(session)
    found = await main(engine, await engine.queued_run())
    assert (found.kind, found.workers, found.held) == (Kind.NEXT, 1, 1)


async def test_what_has_cost_leases_comes_alone(engine: Engine) -> None:
    await engine.session()
    run_id = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET crash_count = 3")
    found = await main(engine, run_id)
    assert (found.kind, found.count) == (Kind.ALONE, 3)


async def test_a_run_is_scheduled_and_told_its_deadline(engine: Engine) -> None:
    run_id = await engine.queued_run(delay=60_000_000, timeout=3_600_000_000)
    found, deadline = (await explained(engine, run_id)).reasons
    status = await engine.status(run_id)
    assert (found.kind, found.until) == (Kind.SCHEDULED, status.due_at)
    assert (deadline.kind, deadline.until) == (Kind.DEADLINE, status.deadline)


async def test_a_paused_run_says_by_whom_and_since_when(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await control.pause(engine.pool, engine.namespace, Pause([run_id], "alice", "until the bank is back: late"))
    found = await main(engine, run_id)
    assert (found.kind, found.actor, found.note) == (Kind.PAUSED, "alice", "until the bank is back: late")
    assert found.since is not None
    told = await engine.execute("SELECT actor, reason FROM aiki.run_history WHERE move = 'pause'")
    assert told == [("alice", "until the bank is back: late")]


async def test_a_pause_that_came_while_it_ran_is_by_whoever_wanted_it(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await control.pause(engine.pool, engine.namespace, Pause([run_id], "alice", "a bad day"))
    beside = (await explained(engine, run_id)).reasons[1]
    assert (beside.kind, beside.actor, beside.note) == (Kind.PAUSE_WANTED, "alice", "a bad day")
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    found = await main(engine, run_id)
    assert (found.kind, found.actor, found.note) == (Kind.PAUSED, "alice", "a bad day")


async def test_a_run_sleeps_until_its_date(engine: Engine) -> None:
    run_id = await engine.queued_run()
    due = 2_000_000_000_000_000
    assert await engine.results(unit((await engine.claim_one()).fence, end=End(Move.SLEEP, due_at=due))) == ["done"]
    found = await main(engine, run_id)
    assert (found.kind, found.until) == (Kind.SLEEPING, due)


async def test_a_task_is_tried_again(engine: Engine) -> None:
    run_id = await engine.queued_run()
    due = 2_000_000_000_000_000
    tried = [Attempt("task:charge:0:1", 2, FAILURE, due)]
    run = await engine.claim_one()
    end = End(Move.RETRY, due_at=due, why="task charge failed at attempt 2: OSError: no route")
    assert await engine.results(unit(run.fence, attempts=tried, end=end)) == ["done"]
    found = await main(engine, run_id)
    assert (found.kind, found.task, found.attempt, found.until) == (Kind.RETRYING, "charge", 2, due)
    assert (found.error, found.message) == ("OSError", "no route")


async def test_a_short_retry_passes_in_the_memory_of_its_worker(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    tried = [Attempt("task:charge:0:1", 1, FAILURE, 2_000_000_000_000_000)]
    assert await engine.results(unit(run.fence, attempts=tried)) == ["done"]
    found = await main(engine, run_id)
    assert (found.kind, found.task, found.worker) == (Kind.RETRYING, "charge", "worker-1")


async def test_a_crash_loop_names_the_worker_that_was_lost_last(engine: Engine) -> None:
    run_id = await engine.queued_run()
    for number in range(1, 6):
        session = await engine.session(worker=f"worker-{number}")
        await engine.execute("UPDATE aiki.runs SET due_at = now() WHERE due_at IS NOT NULL")
        await engine.wake()
        (run,) = await engine.claim(session)
        assert run.fence.run_id == run_id
        await engine.expire(session)
        await engine.rescue()
        found = await main(engine, run_id)
        if number in (2, 3, 4):
            assert (found.kind, found.count, found.worker) == (Kind.BACKING_OFF, number, f"worker-{number}")
            assert found.until is not None
    assert (found.kind, found.error, found.worker) == (Kind.BLOCKED, "crash_loop", "worker-5")
    assert (found.message or "").startswith("crash_loop: its worker lost its lease 5 times")


async def test_a_divergence_blocks_with_its_diff(engine: Engine) -> None:
    run_id = await engine.queued_run()
    diff = "nondeterminism: the code asks for task:other\nthe journal holds task:one"
    assert await engine.results(unit((await engine.claim_one()).fence, end=End(Move.DIVERGE, why=diff))) == ["done"]
    found = await main(engine, run_id)
    assert (found.kind, found.error, found.message) == (Kind.BLOCKED, "nondeterminism", diff)


async def test_a_run_waits_for_an_event_and_has_unread_others(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.send(event(run_id, "aproved"))
    end = parked(1, "event:approved", due_at=2_000_000_000_000_000)
    assert await engine.results(unit(run.fence, end=end)) == ["done"]
    found, unread = (await explained(engine, run_id)).reasons
    assert (found.kind, found.names, found.until) == (Kind.EVENT, ["approved"], 2_000_000_000_000_000)
    assert (unread.kind, unread.names, unread.count) == (Kind.UNREAD, ["aproved"], 1)


async def test_a_run_that_is_to_end_says_who_wants_it_and_who_is_to_do_so(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.claim_one()
    await control.cancel(engine.pool, engine.namespace, Cancel([run_id], "dave", "wrong address"))
    found, cancel = (await explained(engine, run_id)).reasons
    assert (found.kind, cancel.kind) == (Kind.RUNNING, Kind.CANCEL)
    assert (cancel.actor, cancel.note, cancel.worker) == ("dave", "wrong address", "worker-1")
    assert cancel.since is not None


async def test_an_ended_run_says_how(engine: Engine) -> None:
    run_id = await engine.queued_run()
    end = End(Move.FAIL, error=FAILURE)
    assert await engine.results(unit((await engine.claim_one()).fence, 0, entry(), end=end)) == ["done"]
    (found,) = (await explained(engine, run_id)).reasons
    assert (found.kind, found.state, found.error, found.message) == (Kind.ENDED, "failed", "OSError", "no route")


async def test_a_worker_is_frozen_that_has_not_renewed_for_two_thirds_of_its_lease(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session(ttl=30.0)
    await engine.claim_one(session)
    await engine.execute("UPDATE aiki.sessions SET expires_at = expires_at - interval '15 s'")
    assert (await main(engine, run_id)).kind == Kind.RUNNING
    await engine.execute("UPDATE aiki.sessions SET expires_at = expires_at - interval '6 s'")
    found = await main(engine, run_id)
    assert (found.kind, found.worker) == (Kind.FROZEN, "worker-1")
    assert found.renewed is not None
    assert found.until == found.renewed + 30_000_000


async def test_an_imported_run_is_never_run(engine: Engine) -> None:
    run_id = await engine.queued_run()
    imported = encode(ImportedFrom("prod", State.BLOCKED, 1, 2, "alice", "a diff"))
    await engine.execute("UPDATE aiki.runs SET imported = %s", imported)
    (found,) = (await explained(engine, run_id)).reasons
    assert (found.kind, found.names, found.state, found.message) == (Kind.IMPORTED, ["prod"], "blocked", "a diff")


async def test_what_fits_no_message_is_cut_and_of_many_as_many_are_told_as_fit(engine: Engine) -> None:
    ids = [await engine.queued_run() for _ in range(20)]
    diff = "nondeterminism: " + "\u202e" * 8_000
    runs = await engine.claim(await engine.session(), limit=20)
    assert await engine.results(*(unit(run.fence, end=End(Move.DIVERGE, why=diff)) for run in runs)) == ["done"] * 20
    room = 64 * 1024
    reply = await why.answer(engine.pool, engine.namespace, Why(ids), room=room)
    assert 0 < len(reply.runs) == 20 - reply.rest < 20
    assert len(encode(reply)) <= room
    narrow = 16 * 1024
    reply = await why.answer(engine.pool, engine.namespace, Why(ids), room=narrow)
    assert (len(reply.runs), reply.rest) == (1, 19)
    assert len(encode(reply)) <= narrow
    assert (reply.runs[0].reasons[0].message or "").endswith(" …")
