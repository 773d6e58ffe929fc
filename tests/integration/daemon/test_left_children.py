"""Children of a generation that was left: it hears no more of them, and they end with their parent all the same."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.wire.messages import Cancel, End, Entry
from aikid.engine import control
from tests.integration.daemon.arriving import LOCK, taken
from tests.integration.daemon.engine import Engine, completed, event, locked, onward, parked, unit
from tests.integration.daemon.family import CHILD, done, ends, over, parent_of, start, starting

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("end_first", [True, False])
async def test_a_childs_end_that_meets_the_end_of_its_parents_generation_is_not_told_to_the_next(
    engine: Engine, rival: Engine, end_first: bool
) -> None:
    run = await parent_of(engine, start(priority=1))
    child = await engine.claim_one()
    units = [over(child), unit(run.fence, 1, end=onward())]
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        one = asyncio.create_task(engine.results(units[not end_first]))
        await engine.until_waiting()
        other = asyncio.create_task(rival.results(units[end_first]))
        await engine.until_waiting(2)
        await holder.commit()
    assert [await one, await other] == [["done"], ["done"]]
    again = await engine.claim_one()
    assert (again.fence.run_id, again.generation, again.arrivals) == (run.fence.run_id, 1, [])


async def test_a_childs_end_in_one_batch_with_the_end_of_its_parents_generation_is_told_to_nobody(
    engine: Engine,
) -> None:
    run = await parent_of(engine, start(priority=1))
    child = await engine.claim_one()
    assert await engine.results(over(child), unit(run.fence, 1, end=onward())) == ["done", "done"]
    assert (await engine.claim_one()).arrivals == []


async def test_a_later_generation_that_rests_is_not_woken_by_a_child_of_an_earlier_one(engine: Engine) -> None:
    run = await parent_of(engine, start(priority=1), start(priority=1))
    told, untold = await engine.claim_one(), await engine.claim_one()
    assert await engine.results(unit(run.fence, 1, end=onward())) == ["done"]
    again = await engine.claim_one()
    await engine.record(unit(again.fence, 0, end=parked(0, CHILD, "event:approved")))
    assert await engine.results(over(told), unit(untold.fence, end=completed())) == ["done", "done"]
    assert sum((await done(engine)).woken.values()) == 0
    assert await engine.state(run.fence.run_id) is State.WAITING
    await engine.send(event(run.fence.run_id))
    assert taken((await engine.claim_one()).arrivals) == [(1, "event", "approved")]


async def test_each_generation_hears_of_its_own_children(engine: Engine) -> None:
    first, second = start(priority=1), start(priority=1)
    run = await parent_of(engine, first)
    child = await engine.claim_one()
    await engine.record(unit(run.fence, 1, end=onward()))
    again = await engine.claim_one()
    assert await engine.results(starting(again, second)) == ["done"]
    assert await engine.results(over(child), over(await engine.claim_one())) == ["done", "done"]
    assert [name for name, _ in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [second.id]


async def test_children_of_every_generation_end_with_the_run(engine: Engine) -> None:
    first, second, left = start(priority=-1), start(priority=-1), start(priority=-1, parent_close="abandon")
    run = await parent_of(engine, first, left)
    await engine.record(unit(run.fence, 1, end=onward()))
    again = await engine.claim_one()
    await engine.record(starting(again, second))
    await engine.record(unit(again.fence, 1, end=onward()))
    last = await engine.claim_one()
    assert (last.fence.run_id, last.generation) == (run.fence.run_id, 2)
    await control.cancel(engine.pool, engine.namespace, Cancel([run.fence.run_id]))
    told = Entry("cancel:requested", True, Raw(b"{}"), 1_000_000, takes=(1,))
    assert await engine.results(unit(last.fence, 0, told, end=End(Move.CANCEL))) == ["done"]
    await done(engine)
    assert [await engine.state(one.id) for one in (first, second)] == [State.CANCELLED] * 2
    assert await engine.state(left.id) is State.QUEUED


async def test_what_is_started_with_the_end_of_a_generation_belongs_to_it(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    child = start(priority=1)
    assert await engine.results(starting(run, child, end=onward())) == ["done"]
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    again = await engine.claim_one()
    assert (again.fence.run_id, again.generation, again.arrivals) == (run.fence.run_id, 1, [])
    assert await engine.execute("SELECT generation FROM aiki.children") == [(0,)]
