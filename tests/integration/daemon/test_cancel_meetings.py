"""A cancel meets a claim and its end, a rescue, a pause, a deadline: each is forced, and the cancel reaches its run."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from aiki.core.states import Move, State
from aiki.rules.deadlines import Step
from aiki.wire.messages import Cancel, End, Ordered, Pause, Resume
from aikid.engine import control
from tests.integration.daemon.arriving import LOCK
from tests.integration.daemon.engine import Engine, completed, locked, unit
from tests.integration.daemon.test_deadlines import PASSED, passing, timed_run

pytestmark = pytest.mark.anyio

LATER = 4_000_000_000_000_000
REQUESTED: Final = "requested"
ENDS = "UPDATE aiki.runs SET state = %s, session_id = NULL WHERE id = %s"


async def cancel(engine: Engine, run_id: str) -> Ordered:
    (reply,) = (await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))).replies
    return reply.outcomes[0]


async def pause(engine: Engine, run_id: str) -> Ordered:
    (reply,) = (await control.pause(engine.pool, engine.namespace, Pause([run_id]))).replies
    return reply.outcomes[0]


async def lost_run(engine: Engine) -> str:
    """Return a run whose worker has died, and was buried."""
    run_id = await engine.queued_run()
    session = await engine.session()
    await engine.claim_one(session)
    await engine.expire(session)
    await engine.sweep()
    return run_id


async def is_told(engine: Engine, run_id: str) -> bool:
    """Tell whether the next claim of the run brings its cancel."""
    run = await engine.claim_one()
    return run.fence.run_id == run_id and [arrival.kind for arrival in run.arrivals] == ["cancel"]


# -- a claim


async def test_a_cancel_that_waits_for_a_claim_tells_the_run_and_does_not_end_it(engine: Engine) -> None:
    run_id = await engine.queued_run()
    claim = "UPDATE aiki.runs SET state = 'running', epoch = 1, claim_id = 'c', history_seq = 1 WHERE id = %s"
    async with locked(engine.database, claim, run_id) as claiming:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        await claiming.commit()
        assert await cancelling == Ordered(REQUESTED, State.RUNNING)
    assert await engine.state(run_id) is State.RUNNING


async def test_a_claim_skips_a_run_that_is_being_cancelled(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    async with locked(engine.database, LOCK, run_id) as other:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        assert await engine.claim(session) == []
        await other.commit()
    assert await cancelling == Ordered("done", State.CANCELLED)
    assert await engine.claim(session) == []


# -- a rescue


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_cancel_that_meets_a_rescue_comes_along_with_the_next_claim(
    engine: Engine, rival: Engine, cancel_first: bool
) -> None:
    run_id = await lost_run(engine)
    async with locked(engine.database, LOCK, run_id) as holder:
        acts = (lambda: cancel(rival, run_id)), engine.rescue
        first, second = acts if cancel_first else acts[::-1]
        one = asyncio.ensure_future(first())
        await engine.until_waiting()
        other = asyncio.ensure_future(second())
        await engine.until_waiting(2)
        await holder.commit()
    await asyncio.gather(one, other)
    assert await engine.state(run_id) is State.QUEUED
    assert await is_told(engine, run_id)


async def test_a_cancel_that_waits_for_the_rescue_that_blocks_its_run_ends_it(engine: Engine) -> None:
    run_id = await lost_run(engine)
    async with locked(engine.database, ENDS, State.BLOCKED, run_id) as rescuing:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        await rescuing.commit()
        assert await cancelling == Ordered("done", State.CANCELLED)


# -- the end of a claim


@pytest.mark.parametrize("state", [State.SLEEPING, State.RETRYING, State.WAITING, State.QUEUED])
async def test_a_cancel_that_waits_for_the_end_of_a_claim_queues_the_run(engine: Engine, state: State) -> None:
    run_id = await engine.queued_run()
    await engine.claim_one()
    async with locked(engine.database, ENDS, state, run_id) as ending:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        await ending.commit()
        assert await cancelling == Ordered(REQUESTED, State.QUEUED)
    assert await is_told(engine, run_id)


async def test_a_park_that_meets_its_cancel_does_not_hold_or_is_ended_by_it(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, LOCK, run_id) as holder:
        cancelling = asyncio.create_task(cancel(rival, run_id))
        await engine.until_waiting()
        parking = asyncio.create_task(engine.record(unit(run.fence, end=End(Move.SLEEP, due_at=LATER, seen=0))))
        await engine.until_waiting(2)
        await holder.commit()
    assert (await cancelling).result == REQUESTED
    (recorded,) = await parking
    # Whoever had the row first: it is refused, or it is woken.
    assert await engine.state(run_id) is (State.QUEUED if recorded.parked else State.RUNNING)
    assert [arrival.kind for arrival in (await engine.inbox(run_id)).arrivals] == ["cancel"]


async def test_a_completion_that_waits_for_its_cancel_wins(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, LOCK, run_id) as holder:
        cancelling = asyncio.create_task(cancel(rival, run_id))
        await engine.until_waiting()
        completing = asyncio.create_task(engine.results(unit(run.fence, end=completed())))
        await engine.until_waiting(2)
        await holder.commit()
    assert await completing == ["done"]
    assert await cancelling in (Ordered(REQUESTED, State.RUNNING), Ordered("too_late", State.COMPLETED))
    assert await cancel(engine, run_id) == Ordered("too_late", State.COMPLETED)


# -- a pause


async def test_a_cancel_that_meets_a_pause_loses_neither_its_word_nor_the_run(engine: Engine, rival: Engine) -> None:
    """A pause that comes after it holds the run, which has its cancel when it is resumed."""
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, LOCK, run_id) as holder:
        orders = [asyncio.create_task(act) for act in (cancel(rival, run_id), pause(engine, run_id))]
        await engine.until_waiting(2)
        await holder.commit()
    assert {one.result for one in await asyncio.gather(*orders)} == {REQUESTED}
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    if await engine.state(run_id) is State.PAUSED:
        await control.resume(engine.pool, engine.namespace, Resume([run_id]))
    assert await is_told(engine, run_id)


async def test_a_cancel_that_meets_a_resume_comes_along_with_the_next_claim(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.RELEASE)))
    await pause(engine, run_id)
    resuming = control.resume(engine.pool, engine.namespace, Resume([run_id]))
    async with locked(engine.database, LOCK, run_id) as holder:
        both = asyncio.gather(cancel(rival, run_id), resuming)
        await engine.until_waiting(2)
        await holder.commit()
    assert (await both)[0] == Ordered(REQUESTED, State.QUEUED)
    assert await is_told(engine, run_id)


# -- a deadline


async def test_a_cancel_that_waits_for_the_deadline_of_its_run_leaves_it_told_once(engine: Engine) -> None:
    run_id = await timed_run(engine)
    await engine.record(unit((await engine.claim_one()).fence, end=End(Move.RELEASE)))
    await engine.execute(PASSED)
    async with passing(engine):
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
    assert await cancelling == Ordered(REQUESTED, State.QUEUED)
    assert await is_told(engine, run_id)


async def test_a_deadline_passes_over_a_run_that_is_being_cancelled_and_looks_again(engine: Engine) -> None:
    run_id = await timed_run(engine)
    await engine.claim_one()
    await engine.execute(PASSED)
    async with locked(engine.database, LOCK, run_id) as holder:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        assert await engine.pass_deadlines() == {}
        await holder.commit()
    assert await cancelling == Ordered(REQUESTED, State.RUNNING)
    assert await engine.pass_deadlines() == {run_id: Step.NOTE}
    assert [arrival.kind for arrival in (await engine.inbox(run_id)).arrivals] == ["cancel"]
