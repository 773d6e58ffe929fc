"""Cancels: who is told and who ends, what a second one does, and one by force, which meets a claim as it likes."""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.states import TOLD, Move, State
from aiki.rules.deadlines import Step
from aiki.wire.messages import Cancel, End, Ordered, Pause, Resume
from aikid.engine import control
from aikid.engine.changes import Done
from aikid.engine.deadlines import pass_due
from tests.integration.daemon.engine import Engine, completed, entry, locked, new_id, unit

pytestmark = pytest.mark.anyio

REQUESTED = Ordered("requested", State.RUNNING)
CANCELLED = Ordered("done", State.CANCELLED)
LATER = 4_000_000_000_000_000
HOUR = 3_600_000_000


async def pause(engine: Engine, run_id: str) -> None:
    await control.pause(engine.pool, engine.namespace, Pause([run_id]))


async def parked(engine: Engine, move: Move, *waits: str) -> str:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, end=End(move, due_at=LATER, seen=0, waits=list(waits))))
    return run_id


async def cancel(engine: Engine, *run_ids: str, force: bool = False) -> list[Ordered]:
    request = Cancel(list(run_ids), "dave", "wrong address", force)
    (reply,) = (await control.cancel(engine.pool, engine.namespace, request)).replies
    return reply.outcomes


async def test_a_cancel_ends_what_has_not_begun_and_what_is_blocked_and_tells_all_others(engine: Engine) -> None:
    blocked = await engine.queued_run()
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.DIVERGE, why="otherwise")))
    ended = await engine.queued_run()
    await engine.record(unit((await engine.claim_one()).fence, end=completed()))
    running = await engine.queued_run()
    await engine.claim_one()
    queued, paused, scheduled = [await engine.queued_run(start_at=LATER if n == 2 else None) for n in range(3)]
    await pause(engine, paused)
    assert await cancel(engine, blocked, ended, running, queued, paused, scheduled, new_id()) == [
        Ordered("done", State.CANCELLED),
        Ordered("too_late", State.COMPLETED),
        REQUESTED,
        Ordered("done", State.CANCELLED),
        Ordered("done", State.CANCELLED),
        Ordered("done", State.CANCELLED),
        Ordered("unknown"),
    ]
    assert await cancel(engine, queued) == [Ordered("done", State.CANCELLED)]
    assert await engine.history(paused) == ["enqueued", "pause", "cancel"]
    assert (await engine.status(queued)).why == "dave wants it cancelled: wrong address"
    assert await engine.claim(await engine.session()) == []


@pytest.mark.parametrize(
    ("move", "told"),
    [(Move.SLEEP, "arrive"), (Move.WAIT, "arrive"), (Move.RETRY, "resume")],
)
async def test_a_cancel_wakes_a_run_whatever_it_waits_for_and_comes_along_with_its_claim(
    engine: Engine, move: Move, told: str
) -> None:
    run_id = await parked(engine, move, "event:go")
    assert await cancel(engine, run_id) == [Ordered("requested", State.QUEUED)]
    assert await engine.history(run_id) == ["enqueued", "claim", move, told]
    run = await engine.claim_one()
    assert [(arrival.number, arrival.kind) for arrival in run.arrivals] == [(1, "cancel")]
    assert bytes(run.arrivals[0].value) == b'{"why":"wrong address","actor":"dave"}'
    end = End(Move.CANCEL, why="dave wants it cancelled: wrong address")
    assert await engine.results(unit(run.fence, 0, entry("cancel:requested"), end=end)) == ["done"]
    assert await engine.state(run_id) is State.CANCELLED


async def test_a_cancel_clears_a_pause_that_is_wanted_and_one_that_is_carried_out(engine: Engine) -> None:
    carried_out = await parked(engine, Move.SLEEP)
    await pause(engine, carried_out)
    assert await cancel(engine, carried_out) == [Ordered("requested", State.QUEUED)]
    assert (await engine.claim_one()).fence.run_id == carried_out
    assert await engine.history(carried_out) == ["enqueued", "claim", "sleep", "pause", "resume", "claim"]
    wanted = await engine.queued_run()
    run = await engine.claim_one()
    await pause(engine, wanted)
    await cancel(engine, wanted)
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    assert await engine.state(wanted) is State.QUEUED


async def test_whoever_holds_a_cancelled_run_is_told(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    done: Done[object] = await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))  # type: ignore[assignment]
    assert done.changes.told == {("default", session): [(run_id, 1)]}


async def test_a_park_that_has_not_seen_the_cancel_is_refused(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await cancel(engine, run_id)
    (recorded,) = await engine.record(unit(run.fence, end=End(Move.SLEEP, due_at=LATER, seen=0)))
    assert (recorded.parked, recorded.news) == (False, 1)


async def test_a_completion_that_comes_before_its_cancel_wins(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, "UPDATE aiki.runs SET priority = priority WHERE id = %s", run_id) as other:
        recording = asyncio.create_task(engine.record(unit(run.fence, end=completed())))
        await engine.until_waiting()
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting(2)
        await other.commit()
        await recording
        assert await cancelling == [Ordered("too_late", State.COMPLETED)]


async def test_a_completion_that_comes_after_its_cancel_wins_too(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    assert await cancel(engine, run_id) == [REQUESTED]
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]
    assert await cancel(engine, run_id) == [Ordered("too_late", State.COMPLETED)]


async def test_each_cancel_stands_in_the_story_with_who_wants_it_and_why(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    assert await cancel(engine, run_id) == await cancel(engine, run_id) == [REQUESTED]
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    assert await cancel(engine, run_id) == [Ordered("requested", State.QUEUED)]
    assert await engine.history(run_id) == ["enqueued", "claim", TOLD, TOLD, "release", TOLD]
    lines = await engine.execute("SELECT DISTINCT reason, actor FROM aiki.run_history WHERE move = %s", TOLD)
    assert lines == [("dave wants it cancelled: wrong address", "dave")]
    assert [arrival.kind for arrival in (await engine.claim_one()).arrivals] == ["cancel"], "the first one stands"


# -- with a bound


PASSED = "UPDATE aiki.deadlines SET look_at = look_at - interval '2 h'"
UNDONE = "it was cancelled, and did not end in time after that: ended without compensation"


@pytest.mark.parametrize("options", [{}, {"timeout": HOUR * 9}])
@pytest.mark.parametrize("move", [None, Move.SLEEP, Move.WAIT])
async def test_a_cancelled_run_ends_when_its_cancel_timeout_is_over(
    engine: Engine, options: dict[str, int], move: Move | None
) -> None:
    run_id = await engine.queued_run(cancel_timeout=HOUR, **options)
    run = await engine.claim_one()
    if move is not None:
        await engine.record(unit(run.fence, end=End(move, due_at=LATER)))
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {}, "nobody has cancelled it"
    done = await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))
    assert 3500 < (done.changes.due_seconds or 0) <= 3600
    assert (await engine.status(run_id)).deadline is not None
    await engine.execute("UPDATE aiki.inbox SET taken_seq = 1")
    assert await engine.pass_deadlines() == {}
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {run_id: Step.CUT}
    assert await engine.results(unit(run.fence, end=completed())) == ["fenced"]
    status = await engine.status(run_id)
    assert (status.state, status.why, bytes(status.error)) == (State.CANCELLED, UNDONE, b"")
    assert (await engine.history(run_id))[-1] == "cancel"
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {}


async def test_a_run_that_is_resumed_has_no_bound_before_it_is_cancelled(engine: Engine) -> None:
    run_id = await engine.queued_run(cancel_timeout=HOUR)
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.SLEEP, due_at=LATER)))
    await pause(engine, run_id)
    await control.resume(engine.pool, engine.namespace, Resume([run_id]))
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {}
    assert (await engine.status(run_id)).deadline is None
    assert await engine.state(run_id) is State.QUEUED


async def test_who_holds_what_ends_by_its_bound_is_told(engine: Engine) -> None:
    run_id = await engine.queued_run(cancel_timeout=0)
    session = await engine.session()
    await engine.claim_one(session)
    await cancel(engine, run_id)
    (changes,) = [changes async for changes in pass_due(engine.pool)]
    assert changes.told == {("default", session): [(run_id, 2)]}
    assert changes.settled == {"default": [run_id]}


async def test_a_paused_run_that_is_cancelled_has_its_bound_too_and_one_paused_since_waits(engine: Engine) -> None:
    run_id = await engine.queued_run(cancel_timeout=HOUR)
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.SLEEP, due_at=LATER)))
    await pause(engine, run_id)
    await cancel(engine, run_id)
    await pause(engine, run_id)
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {run_id: Step.HOLD}
    await control.resume(engine.pool, engine.namespace, Resume([run_id]))
    await engine.execute(PASSED)
    assert await engine.pass_deadlines() == {run_id: Step.CUT}


# -- by force


@pytest.mark.parametrize("end", [None, Move.SLEEP, Move.WAIT, Move.RETRY, Move.RELEASE, Move.DIVERGE])
async def test_a_cancel_by_force_ends_a_run_whatever_it_does(engine: Engine, end: Move | None) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    if end is not None:
        await engine.record(unit(run.fence, 0, entry("a"), end=End(end, due_at=LATER)))
    assert await cancel(engine, run_id, force=True) == [CANCELLED]
    assert await cancel(engine, run_id, force=True) == [CANCELLED], "again is no error"
    assert (await engine.history(run_id))[-1] == "cancel"
    status = await engine.status(run_id)
    assert status.why == "dave wants it cancelled: wrong address; ended at once, without compensation"
    assert await engine.claim(await engine.session()) == []
    assert await engine.wake() == []


async def test_a_cancel_by_force_of_what_has_not_begun_is_a_cancel(engine: Engine) -> None:
    run_id, paused = await engine.queued_run(), await engine.queued_run()
    await pause(engine, paused)
    assert await cancel(engine, run_id, paused, new_id(), force=True) == [CANCELLED, CANCELLED, Ordered("unknown")]
    assert (await engine.status(run_id)).why == "dave wants it cancelled: wrong address"


async def test_whoever_runs_what_is_cancelled_by_force_is_told_and_can_write_nothing_more(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    request = Cancel([run_id], force=True)
    done: Done[object] = await control.cancel(engine.pool, engine.namespace, request)  # type: ignore[assignment]
    assert done.changes.told == {("default", session): [(run_id, 1)]}
    assert done.changes.settled == {"default": [run_id]}
    assert await engine.results(unit(run.fence, 0, entry("a"))) == ["fenced"]
    assert await engine.results(unit(run.fence, end=completed())) == ["fenced"]
    assert await engine.state(run_id) is State.CANCELLED


async def test_a_cancel_by_force_in_the_middle_of_compensation_ends_it(engine: Engine) -> None:
    run_id = await parked(engine, Move.WAIT, "event:go")
    await cancel(engine, run_id)
    run = await engine.claim_one()
    told = [entry("cancel:requested"), entry("interrupt:body"), entry("refund")]
    await engine.record(unit(run.fence, 0, *told, end=End(Move.SLEEP, due_at=LATER, seen=1)))
    assert await engine.state(run_id) is State.SLEEPING
    assert await cancel(engine, run_id, force=True) == [CANCELLED]
    story = ["enqueued", "claim", "wait", "arrive", "claim", "sleep", "cancel"]
    assert await engine.history(run_id) == story


async def test_a_completion_that_comes_before_a_cancel_by_force_wins(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, "UPDATE aiki.runs SET priority = priority WHERE id = %s", run_id) as other:
        recording = asyncio.create_task(engine.results(unit(run.fence, end=completed())))
        await engine.until_waiting()
        forcing = asyncio.create_task(cancel(engine, run_id, force=True))
        await engine.until_waiting(2)
        await other.commit()
        assert (await recording, await forcing) == (["done"], [Ordered("too_late", State.COMPLETED)])


async def test_a_completion_that_waits_for_a_cancel_by_force_is_fenced(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, "UPDATE aiki.runs SET priority = priority WHERE id = %s", run_id) as other:
        forcing = asyncio.create_task(cancel(engine, run_id, force=True))
        await engine.until_waiting()
        recording = asyncio.create_task(engine.results(unit(run.fence, end=completed())))
        await engine.until_waiting(2)
        await other.commit()
        assert (await forcing, await recording) == ([CANCELLED], ["fenced"])
    assert await engine.history(run_id) == ["enqueued", "claim", "cancel"]
