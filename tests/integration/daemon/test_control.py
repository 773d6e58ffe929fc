"""What persons order: it is kept whatever the claim comes to, and each interleaving with a worker is one of two."""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.states import Move, State
from aiki.rules.standing import PAUSE
from aiki.wire.limits import UNREAD_WAKES
from aiki.wire.messages import End, Ordered, Pause, Resume, Wake
from aikid.engine import control
from aikid.engine.changes import Done
from tests.integration.daemon.engine import Engine, completed, entry, locked, new_id, unit

pytestmark = pytest.mark.anyio

REQUESTED = Ordered("requested", State.RUNNING)
LATER = 4_000_000_000_000_000


async def pause(engine: Engine, *run_ids: str) -> list[Ordered]:
    (reply,) = (await control.pause(engine.pool, engine.namespace, Pause(list(run_ids), "alice"))).replies
    return reply.outcomes


async def resume(engine: Engine, *run_ids: str) -> list[Ordered]:
    (reply,) = (await control.resume(engine.pool, engine.namespace, Resume(list(run_ids), "bob"))).replies
    return reply.outcomes


async def test_each_of_many_runs_has_its_own_answer(engine: Engine) -> None:
    ended = await engine.queued_run()
    await engine.record(unit((await engine.claim_one()).fence, end=completed()))
    blocked = await engine.queued_run()
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.DIVERGE, why="otherwise")))
    running = await engine.queued_run()
    await engine.claim_one()
    queued, unknown = await engine.queued_run(), new_id()
    ids = [ended, blocked, running, queued, unknown, queued]
    assert await pause(engine, *ids) == [
        Ordered("too_late", State.COMPLETED),
        Ordered("refused", State.BLOCKED),
        REQUESTED,
        Ordered("done", State.PAUSED),
        Ordered("unknown"),
        Ordered("done", State.PAUSED),
    ]
    assert await pause(engine, queued, running) == [Ordered("done", State.PAUSED), REQUESTED]
    assert await resume(engine, *ids) == [
        Ordered("too_late", State.COMPLETED),
        Ordered("done", State.QUEUED),
        Ordered("done", State.RUNNING),
        Ordered("done", State.QUEUED),
        Ordered("unknown"),
        Ordered("done", State.QUEUED),
    ]
    assert await engine.history(queued) == ["enqueued", "pause", "resume"]
    engine.namespace = "elsewhere"
    assert await pause(engine, running) == await resume(engine, running) == [Ordered("unknown")]


async def test_a_run_that_was_paused_before_it_was_due_waits_on_for_its_date(engine: Engine) -> None:
    run_id = await engine.queued_run(start_at=LATER)
    assert await pause(engine, run_id) == [Ordered("done", State.PAUSED)]
    await engine.execute("UPDATE aiki.runs SET due_at = now() + interval '1 hour'")
    assert await resume(engine, run_id) == [Ordered("done", State.SCHEDULED)]
    assert await engine.wake() == []
    assert await engine.history(run_id) == ["enqueued", "pause", "resume", "defer"]
    await pause(engine, run_id)
    await engine.execute("UPDATE aiki.runs SET due_at = now()")
    assert await engine.wake() == [], "it is held"
    assert await resume(engine, run_id) == [Ordered("done", State.QUEUED)]


async def test_a_paused_run_is_not_claimed(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await pause(engine, run_id)
    assert await engine.claim(await engine.session()) == []
    status = await engine.status(run_id)
    assert (status.state, status.why) == (State.PAUSED, "alice wants it paused")


@pytest.mark.parametrize("end", [Move.RELEASE, Move.SLEEP, Move.RETRY])
async def test_a_pause_is_kept_by_whatever_ends_the_claim(engine: Engine, end: Move) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    assert await pause(engine, run_id) == [REQUESTED]
    last = unit(run.fence, 0, entry("a"), end=End(end, due_at=None if end is Move.RELEASE else 1_000_000))
    assert await engine.results(last) == ["done"]
    assert await engine.results(last) == ["done"], "a repeat is known"
    assert await engine.state(run_id) is State.PAUSED
    assert (await engine.status(run_id)).why == "alice wants it paused"
    assert await engine.wake() == []
    assert await engine.history(run_id) == ["enqueued", "claim", end, "pause"]
    assert await resume(engine, run_id) == [Ordered("done", State.QUEUED)]
    again = await engine.claim_one()
    assert again.entries == [entry("a")]
    await engine.record(unit(again.fence, 1, end=End(Move.RELEASE)))
    assert await engine.state(run_id) is State.QUEUED, "it was wanted once"


@pytest.mark.parametrize("move", [Move.WAIT, Move.SLEEP])
async def test_a_park_that_has_not_seen_the_pause_is_refused_and_the_next_one_pauses(
    engine: Engine, move: Move
) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await pause(engine, run_id)
    for seen, parked, state in ((0, False, State.RUNNING), (1, True, State.PAUSED)):
        end = End(move, due_at=1_000_000, seen=seen, waits=["event:go"])
        (recorded,) = await engine.record(unit(run.fence, end=end))
        assert (recorded.result, recorded.parked, recorded.news) == ("done", parked, 1)
        assert await engine.state(run_id) is state
    assert await engine.history(run_id) == ["enqueued", "claim", move, "pause"]
    assert await engine.wake() == []
    assert await resume(engine, run_id) == [Ordered("done", State.QUEUED)]


async def test_a_run_that_ends_before_it_is_paused_has_ended(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await pause(engine, run_id)
    await engine.record(unit(run.fence, end=completed()))
    assert await pause(engine, run_id) == [Ordered("too_late", State.COMPLETED)]


async def test_a_pause_survives_the_death_of_the_worker(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    await pause(engine, run_id)
    await engine.expire(session)
    assert [one.state for one in await engine.rescue()] == [State.PAUSED]
    assert await engine.history(run_id) == ["enqueued", "claim", "rescue", "pause"]
    assert await resume(engine, run_id) == [Ordered("done", State.QUEUED)]
    await engine.claim_one()


async def test_a_pause_survives_a_worker_that_leaves(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    await pause(engine, run_id)
    assert await engine.close(session) == [run_id]
    assert await engine.history(run_id) == ["enqueued", "claim", "release", "pause"]


async def test_a_resume_takes_back_a_pause_that_was_not_carried_out(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await pause(engine, run_id)
    assert await resume(engine, run_id) == [Ordered("done", State.RUNNING)]
    assert (await engine.status(run_id)).why is None
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    assert await engine.state(run_id) is State.QUEUED


async def test_who_holds_a_run_is_told_once_and_by_each_renewal(engine: Engine) -> None:
    run_id, other = await engine.queued_run(), await engine.queued_run()
    session = await engine.session()
    held = {run.fence.claim_id for run in await engine.claim(session)}
    done: Done[object] = await control.pause(engine.pool, engine.namespace, Pause([run_id]))  # type: ignore[assignment]
    assert done.changes.told == {("default", session): [(run_id, 1)]}
    done = await control.pause(engine.pool, engine.namespace, Pause([run_id]))  # type: ignore[assignment]
    assert not done.changes.told
    for _ in range(2):
        assert (await engine.renew(session, *held)).news == [(run_id, 1)]
    await resume(engine, run_id)
    assert (await engine.renew(session, *held)).news == []
    assert await engine.state(other) is State.RUNNING


# -- wakes


async def wake(engine: Engine, *run_ids: str, id: str | None = None) -> list[Ordered]:
    request = Wake(list(run_ids), "carol", id or new_id())
    (reply,) = (await control.wake(engine.pool, engine.namespace, request)).replies
    return reply.outcomes


async def parked(engine: Engine, move: Move, *waits: str) -> str:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, end=End(move, due_at=LATER, seen=0, waits=list(waits))))
    return run_id


async def test_a_wake_queues_what_sleeps_and_comes_along_with_its_claim(engine: Engine) -> None:
    run_id = await parked(engine, Move.SLEEP, "wake")
    assert await wake(engine, run_id) == [Ordered("done", State.QUEUED)]
    assert await engine.history(run_id) == ["enqueued", "claim", "sleep", "wake"]
    run = await engine.claim_one()
    assert [(arrival.number, arrival.kind) for arrival in run.arrivals] == [(1, "wake")]
    unread = await engine.execute("SELECT unread FROM aiki.runs WHERE id = %s", run_id)
    assert unread == [(0,)], "it is no event"


async def test_a_wake_finds_what_sleeps_beside_a_wait_and_nothing_else(engine: Engine) -> None:
    both, waiting = await parked(engine, Move.WAIT, "event:go", "wake"), await parked(engine, Move.WAIT, "event:go")
    retrying = await parked(engine, Move.RETRY)
    scheduled, queued = await engine.queued_run(start_at=LATER), await engine.queued_run()
    assert await wake(engine, both, waiting, retrying, scheduled, queued, new_id()) == [
        Ordered("done", State.QUEUED),
        Ordered("refused", State.WAITING),
        Ordered("refused", State.RETRYING),
        Ordered("done", State.QUEUED),
        Ordered("done", State.QUEUED),
        Ordered("unknown"),
    ]


async def test_a_queued_run_that_has_begun_does_not_sleep_and_a_repeat_of_its_wake_says_so_no_more(
    engine: Engine,
) -> None:
    run_id = await parked(engine, Move.SLEEP, "wake")
    id = new_id()
    for _ in range(2):
        assert await wake(engine, run_id, id=id) == [Ordered("done", State.QUEUED)]
    assert await wake(engine, run_id) == [Ordered("refused", State.QUEUED)]
    assert await engine.execute("SELECT count(*) FROM aiki.inbox WHERE run_id = %s", run_id) == [(1,)]


async def test_a_wake_that_is_repeated_ends_one_sleep(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    id = new_id()
    for _ in range(2):
        assert await wake(engine, run_id, id=id) == [REQUESTED]
    assert await engine.execute("SELECT number, kind FROM aiki.inbox WHERE run_id = %s", run_id) == [(1, "wake")]
    done = await control.wake(engine.pool, engine.namespace, Wake([run_id], id=new_id()))
    assert done.changes.told == {("default", session): [(run_id, 2)]}


async def test_a_run_that_is_woken_again_and_again_has_a_hundred_wakes_at_most(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.claim(await engine.session())
    for _ in range(UNREAD_WAKES + 3):
        assert await wake(engine, run_id) == [REQUESTED]
    assert await engine.execute("SELECT count(*) FROM aiki.inbox WHERE run_id = %s", run_id) == [(UNREAD_WAKES,)]


async def test_a_park_that_has_not_seen_the_wake_is_refused(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await wake(engine, run_id)
    (recorded,) = await engine.record(unit(run.fence, end=End(Move.SLEEP, due_at=LATER, seen=0, waits=["wake"])))
    assert (recorded.parked, recorded.news) == (False, 1)


async def test_a_wake_that_waits_for_a_park_ends_its_sleep(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.claim_one()
    parking = "UPDATE aiki.runs SET state = 'sleeping', session_id = NULL, waits = '{wake}' WHERE id = %s"
    async with locked(engine.database, parking, run_id) as other:
        waking = asyncio.create_task(wake(engine, run_id))
        await engine.until_waiting()
        await other.commit()
        assert await waking == [Ordered("done", State.QUEUED)]


# -- forced interleavings: one waits for the other's lock


@pytest.mark.parametrize("end", [Move.RELEASE, Move.SLEEP])
async def test_a_pause_that_waits_for_a_claims_end_pauses_what_has_come_of_it(engine: Engine, end: Move) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    ending = "UPDATE aiki.runs SET state = %s, session_id = NULL WHERE id = %s"
    state = {Move.RELEASE: State.QUEUED, Move.SLEEP: State.SLEEPING}[end]
    async with locked(engine.database, ending, state, run_id) as other:
        pausing = asyncio.create_task(pause(engine, run_id))
        await engine.until_waiting()
        await other.commit()
        assert await pausing == [Ordered("done", State.PAUSED)]
    assert await engine.results(unit(run.fence, 0, entry("a"))) == ["fenced"]


@pytest.mark.parametrize("end", [Move.RELEASE, Move.SLEEP, Move.RETRY])
async def test_a_claims_end_that_waits_for_a_pause_pauses(engine: Engine, end: Move) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    wanting = "UPDATE aiki.runs SET wanted = %s, news_seq = news_seq + 1 WHERE id = %s"
    async with locked(engine.database, wanting, PAUSE, run_id) as other:
        ended = asyncio.create_task(engine.results(unit(run.fence, end=End(end, due_at=LATER))))
        await engine.until_waiting()
        await other.commit()
        assert await ended == ["done"]
    assert await engine.state(run_id) is State.PAUSED


async def test_a_rescue_that_waits_for_a_pause_pauses(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    await engine.expire(session)
    await engine.sweep()
    wanting = "UPDATE aiki.runs SET wanted = %s, news_seq = news_seq + 1 WHERE id = %s"
    async with locked(engine.database, wanting, PAUSE, run_id) as other:
        rescuing = asyncio.create_task(engine.rescue())
        await engine.until_waiting()
        await other.commit()
        assert [one.state for one in await rescuing] == [State.PAUSED]


async def test_a_claim_skips_a_run_that_is_being_paused(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    async with locked(engine.database, "UPDATE aiki.runs SET state = 'paused' WHERE id = %s", run_id) as other:
        assert await engine.claim(session) == []
        await other.commit()
    assert await engine.claim(session) == []


async def test_a_claim_brings_a_pause_that_came_between_its_lock_and_its_look(engine: Engine) -> None:
    """Its number counts as seen then."""
    run_id = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET news_seq = 1")
    session = await engine.session()
    async with locked(engine.database, "LOCK TABLE aiki.inbox IN ACCESS EXCLUSIVE MODE") as other:
        claiming = asyncio.create_task(engine.claim_one(session))
        await engine.until_waiting()
        assert await pause(engine, run_id) == [REQUESTED]
        await other.commit()
    claimed = await claiming
    assert (claimed.news, claimed.wanted) == (2, PAUSE)
