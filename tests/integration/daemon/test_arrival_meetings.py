"""An arrival meets a park, a claim, a due date, another one: each interleaving is forced, and nobody sleeps over it."""

from __future__ import annotations

import asyncio
import random

import pytest

from aiki.core.states import Move, State
from aiki.wire.messages import End, Recorded, Unit
from tests.integration.daemon.arriving import APPROVED, LOCK, held, results, taken
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, entry, event, locked, op, parked, unit

pytestmark = pytest.mark.anyio


async def test_an_event_that_commits_while_a_park_waits_for_the_row_is_not_slept_over(
    engine: Engine, rival: Engine
) -> None:
    run = await held(engine)
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        sending = asyncio.create_task(engine.send(event(run.fence.run_id)))
        await engine.until_waiting()
        parking = asyncio.create_task(rival.record(unit(run.fence, end=parked(0, APPROVED))))
        await engine.until_waiting(2)
        await holder.commit()
    assert results(await sending) == ["taken"]
    (recorded,) = await parking
    # Whoever had the row first: it is told, or it is woken.
    assert await engine.state(run.fence.run_id) is (State.QUEUED if recorded.parked else State.RUNNING)


async def test_an_event_that_waits_for_a_park_wakes_the_run(engine: Engine, rival: Engine) -> None:
    run = await held(engine)
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        parking = asyncio.create_task(rival.record(unit(run.fence, end=parked(0, APPROVED))))
        await engine.until_waiting()
        sending = asyncio.create_task(engine.sent(event(run.fence.run_id)))
        await engine.until_waiting(2)
        await holder.commit()
    assert await parking == [Recorded("done")]
    assert dict((await sending).changes.queued) == {(engine.namespace, WORKFLOW, VERSION): 1}
    assert await engine.state(run.fence.run_id) is State.QUEUED


@pytest.mark.parametrize("sender_first", [True, False])
async def test_a_park_and_its_arrival_in_one_batch_leave_nobody_asleep(engine: Engine, sender_first: bool) -> None:
    runs = sorted([await held(engine), await held(engine)], key=lambda run: run.fence.run_id)
    sender, run = runs if sender_first else runs[::-1]
    units = [
        Unit(sender.fence, 0, [], [], None, [op(run.fence.run_id)]),
        unit(run.fence, end=parked(0, APPROVED)),
    ]
    for order in (units, units[::-1]):
        recorded = {one.fence.run_id: said for one, said in zip(order, await engine.record(*order), strict=True)}
        assert recorded[run.fence.run_id] == Recorded("done", parked=False, news=1)
    assert await engine.state(run.fence.run_id) is State.RUNNING


async def test_two_runs_that_park_for_what_the_other_sends_meet_no_deadlock(engine: Engine, rival: Engine) -> None:
    pairs = [[await held(engine), await held(engine)] for _ in range(10)]
    units = [
        [Unit(one.fence, 0, [entry("a")], [], parked(0, APPROVED), [op(other.fence.run_id)]) for one, other in pairs],
        [Unit(other.fence, 0, [entry("a")], [], parked(0, APPROVED), [op(one.fence.run_id)]) for one, other in pairs],
    ]
    said = await asyncio.gather(engine.record(*units[0]), rival.record(*reversed(units[1])))
    assert {one.result for batch in said for one in batch} == {"done"}
    for run in [run for pair in pairs for run in pair]:
        assert await engine.state(run.fence.run_id) is State.RUNNING, "the outcome of its op is news to it"
        reply = await engine.inbox(run.fence.run_id)
        assert sorted(one.kind for one in reply.arrivals) == ["event", "op"]


ARRIVE = """
WITH moved AS (
  UPDATE aiki.runs SET news_seq = news_seq + 1, unread = unread + 1 WHERE id = %s RETURNING id, origin_id, news_seq
)
INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value)
SELECT id, news_seq, origin_id, 4000000000000000, 'event', 'second', '1' FROM moved
"""


async def test_a_claim_reads_what_came_between_its_lock_and_its_look(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.send(event(run_id, "first"))
    session = await engine.session()
    async with locked(engine.database, "LOCK TABLE aiki.inbox IN ACCESS EXCLUSIVE MODE") as holder:
        claiming = asyncio.create_task(engine.claim_one(session))
        await engine.until_waiting()
        states = await engine.execute("SELECT state FROM aiki.runs WHERE id = %s", run_id)
        assert states == [(State.RUNNING,)], "the claim has been committed"
        await holder.execute(ARRIVE.encode(), (run_id,))
        await holder.commit()
    claimed = await claiming
    assert taken(claimed.arrivals) == [(1, "event", "first"), (2, "event", "second")]
    assert (claimed.news, claimed.unread) == (2, 2)


@pytest.mark.parametrize("how", ["release", "rescue", "close"])
@pytest.mark.parametrize("event_first", [True, False])
async def test_an_event_that_meets_the_end_of_a_claim_is_in_the_next_one(
    engine: Engine, rival: Engine, how: str, event_first: bool
) -> None:
    session = await engine.session()
    run = await held(engine, session)
    run_id = run.fence.run_id
    if how == "rescue":
        await engine.expire(session)
    ends = {
        "release": lambda: rival.results(unit(run.fence, end=End(Move.RELEASE))),
        "rescue": rival.rescue,
        "close": lambda: rival.close(session),
    }
    acts = [lambda: engine.send(event(run_id)), ends[how]]
    async with locked(engine.database, LOCK, run_id) as holder:
        tasks = []
        for act in acts if event_first else reversed(acts):
            tasks.append(asyncio.create_task(act()))
            await engine.until_waiting(len(tasks))
        await holder.commit()
    await asyncio.gather(*tasks)
    assert await engine.state(run_id) is State.QUEUED
    again = await engine.claim_one()
    assert taken(again.arrivals) == [(1, "event", "approved")]


async def test_a_run_that_is_due_while_an_event_comes_is_woken_by_either(engine: Engine, rival: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    assert await engine.record(unit(run.fence, end=parked(0, APPROVED, due_at=1))) == [Recorded("done")]
    async with locked(engine.database, LOCK, run_id) as holder:
        sending = asyncio.create_task(engine.send(event(run_id)))
        await engine.until_waiting()
        assert await rival.wake() == [], "whoever wakes passes by what is locked"
        await holder.commit()
    assert results(await sending) == ["taken"]
    assert await rival.wake() == []
    assert await engine.history(run_id) == ["enqueued", "claim", "wait", "arrive"]


async def test_two_events_by_two_daemons_have_two_numbers_and_times(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    async with locked(engine.database, LOCK, run_id) as holder:
        sends = [asyncio.create_task(one.send(event(run_id), event(run_id))) for one in (engine, rival)]
        await engine.until_waiting(2)
        await holder.commit()
    assert [results(await send) for send in sends] == [["taken", "taken"]] * 2
    arrivals = (await engine.inbox(run_id)).arrivals
    assert [one.number for one in arrivals] == [1, 2, 3, 4]
    times = [one.at for one in arrivals]
    assert times == sorted(set(times))


async def test_a_send_of_many_crosses_another_without_a_deadlock(engine: Engine, rival: Engine) -> None:
    runs = [await engine.queued_run() for _ in range(30)]
    batches = [random.Random(seed).sample(runs, len(runs)) for seed in range(20)]
    sends = [(engine, rival)[n % 2].send(*map(event, batch)) for n, batch in enumerate(batches)]
    assert {one.result for outcomes in await asyncio.gather(*sends) for one in outcomes} == {"taken"}
    for run_id in runs:
        assert [one.number for one in (await engine.inbox(run_id)).arrivals] == list(range(1, 21))
