"""Who waits for whom, followed to the run in which it ends; and what a schedule has to do with it."""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.reasons import Kind
from aiki.core.states import Move
from aiki.wire.messages import End, Explained, Looked, OrderSchedules, RunOptions, Why
from aikid.engine import schedules, why
from tests.integration.daemon.engine import Engine, parked, unit
from tests.integration.daemon.family import CHILD, done, over, parent_of, start, starting
from tests.integration.daemon.firing import Standing, declared, fire, latest, put

pytestmark = pytest.mark.anyio

WAIT = """
INSERT INTO aiki.task_key_waiters (namespace, scope, task, key, run_id, generation, call)
VALUES (%s, 'flow', 'charge', 'order-1', %s, 0, 'task:charge@order-1')
"""
OWN = """
INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, digest, call)
VALUES (%s, 'flow', 'charge', 'order-1', %s, 0, 1, '', 'task:charge@order-1')
ON CONFLICT (namespace, scope, task, key) DO UPDATE SET run_id = excluded.run_id
"""


async def explained(engine: Engine, run_id: str) -> Explained:
    (one,) = (await why.answer(engine.pool, engine.namespace, Why([run_id]), room=engine.room)).runs
    return one


async def test_a_family_is_followed_down_to_the_leaf_that_really_waits(engine: Engine) -> None:
    first = start()
    root = await parent_of(engine, first)
    assert await engine.results(unit(root.fence, 1, end=parked(0, CHILD))) == ["done"]
    child = await engine.claim_one()
    second = start()
    await engine.results(starting(child, second))
    assert await engine.results(unit(child.fence, 1, end=parked(0, CHILD))) == ["done"]
    leaf = await engine.claim_one()
    assert await engine.results(unit(leaf.fence, end=parked(0, "event:approved"))) == ["done"]
    found = await explained(engine, root.fence.run_id)
    assert found.path == [root.fence.run_id, first.id, second.id]
    assert (found.reasons[0].kind, found.reasons[0].run, found.reasons[0].total) == (Kind.CHILD, first.id, 1)
    assert (found.leaf[0].kind, found.leaf[0].names) == (Kind.EVENT, ["approved"])


async def test_of_many_children_those_are_counted_that_still_run_and_the_oldest_is_named(engine: Engine) -> None:
    starts = [start() for _ in range(5)]
    root = await parent_of(engine, *starts)
    assert await engine.results(unit(root.fence, 1, end=parked(0, CHILD, ends=5))) == ["done"]
    session = await engine.session()
    taken = {run.fence.run_id: run for run in await engine.claim(session, limit=5)}
    await engine.results(*(over(taken[one.id]) for one in starts[:2]))
    await done(engine)
    (reason,) = (await explained(engine, root.fence.run_id)).reasons
    assert (reason.kind, reason.count, reason.total, reason.capped) == (Kind.CHILD, 3, 5, False)
    assert reason.run in {one.id for one in starts[2:]}


async def test_a_key_is_held_by_another_run_and_that_is_asked_next(engine: Engine) -> None:
    holder, waiter = await engine.queued_run(priority=1), await engine.queued_run()
    session = await engine.session()
    runs = {run.fence.run_id: run for run in await engine.claim(session)}
    await engine.execute(OWN, engine.namespace, holder)
    await engine.execute(WAIT, engine.namespace, waiter)
    assert await engine.results(unit(runs[waiter].fence, end=parked(0, "key"))) == ["done"]
    found = await explained(engine, waiter)
    assert (found.reasons[0].kind, found.reasons[0].run) == (Kind.KEY, holder)
    assert (found.reasons[0].task, found.reasons[0].key) == ("charge", "order-1")
    assert (found.path, found.leaf[0].kind) == ([waiter, holder], Kind.RUNNING)


async def test_a_try_that_was_left_and_could_not_be_stopped_ends_with_its_worker_alone(engine: Engine) -> None:
    holder, waiter = await engine.queued_run(priority=1), await engine.queued_run()
    session = await engine.session()
    runs = {run.fence.run_id: run for run in await engine.claim(session)}
    for run_id in (holder, waiter):
        await engine.execute(OWN, engine.namespace, run_id)
        await engine.execute("UPDATE aiki.task_keys SET session_id = %s", session)
        if run_id == holder:
            await engine.execute(WAIT, engine.namespace, waiter)
            assert await engine.results(unit(runs[waiter].fence, end=parked(0, "key"))) == ["done"]
        found = await explained(engine, waiter)
        assert (found.reasons[0].kind, found.reasons[0].worker, found.leaf) == (Kind.KEY, "worker-1", [])
        assert found.reasons[0].run == (holder if run_id == holder else None)


async def test_runs_that_wait_for_each_other_in_a_circle_are_not_followed_for_ever(engine: Engine) -> None:
    ids = [await engine.queued_run(), await engine.queued_run()]
    runs = await engine.claim(await engine.session())
    await engine.results(*(unit(run.fence, end=parked(0, "key")) for run in runs))
    for mine, other in (ids, ids[::-1]):
        await engine.execute(WAIT.replace("order-1", mine), engine.namespace, mine)
        await engine.execute(OWN.replace("order-1", mine), engine.namespace, other)
    found = await explained(engine, ids[0])
    assert found.path == ids
    assert (found.leaf[0].kind, found.leaf[0].run) == (Kind.KEY, ids[0])


async def test_a_chain_is_followed_through_a_hundred_runs_and_no_further(engine: Engine) -> None:
    ids = [await engine.queued_run() for _ in range(103)]
    session = await engine.session()
    runs = await engine.claim(session, limit=200)
    await engine.results(*(unit(run.fence, end=parked(0, "key")) for run in runs))
    for number, mine in enumerate(ids[:-1]):
        await engine.execute(WAIT.replace("order-1", f"k{number}"), engine.namespace, mine)
        await engine.execute(OWN.replace("order-1", f"k{number}"), engine.namespace, ids[number + 1])
    found = await explained(engine, ids[0])
    assert found.path == ids[:100]


async def test_a_retried_run_leads_to_the_run_that_goes_on_in_its_place(engine: Engine) -> None:
    old, new = await engine.queued_run(), await engine.queued_run(delay=60_000_000)
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, end=End(Move.FAIL))) == ["done"]
    await engine.execute("UPDATE aiki.runs SET retried_by = %s WHERE id = %s", new, old)
    await engine.execute("INSERT INTO aiki.origins (origin_id, run_id) VALUES (%s, %s)", old, new)
    found = await explained(engine, old)
    assert (found.reasons[0].kind, found.reasons[0].run, found.path) == (Kind.ENDED, new, [old, new])
    assert found.leaf[0].kind == Kind.SCHEDULED


async def test_the_schedule_of_a_run_is_paused_and_others_wait_behind_it(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="queue", options=RunOptions()))
    for _ in range(3):
        await clock.go_on(3_600)
        await fire(engine)
    run_id = next(slot.run_id for slot in await latest(engine) if slot.run_id is not None)
    behind = (await explained(engine, run_id)).reasons[1]
    assert (behind.kind, behind.names, behind.count) == (Kind.SLOTS_BEHIND, ["nightly"], 2)
    await schedules.order(engine.pool, engine.namespace, OrderSchedules(["nightly"], "pause", "a bad day"))
    paused, behind = (await explained(engine, run_id)).reasons[1:]
    assert (paused.kind, paused.names, paused.note) == (Kind.SCHEDULE_PAUSED, ["nightly"], "a bad day")
    assert behind.kind == Kind.SLOTS_BEHIND


async def test_workers_that_are_slow_to_answer_hold_up_no_answer_however_many_wait_for_each_other(
    engine: Engine,
) -> None:
    """Whoever works for a namespace may answer at the last moment, and say of each run that it waits for a child."""
    run = await parent_of(engine, start())
    root = run.fence.run_id
    for _ in range(8):
        child = await engine.claim_one()
        assert await engine.results(starting(child, start())) == ["done"]
    asked: list[str] = []

    async def look(namespace: str, session: str, run_id: str) -> Looked:
        asked.append(run_id)
        await asyncio.sleep(0.25)
        return Looked(1, calls=["all:0"], waiting=1)

    reply = await why.answer(engine.pool, engine.namespace, Why([root]), room=engine.room, look=look)
    assert 0 < len(asked) <= 4
    assert reply.runs[0].reasons[0].kind == Kind.CHILD
