"""A child's end meets its parent's park, a start its parent's end, a key another start: each interleaving is forced."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.rules.deadlines import Step
from aiki.wire.messages import Cancel, Claimed, Entry, Recorded, Started, StartOp
from aikid.engine import control
from aikid.store import errands
from tests.integration.daemon.arriving import LOCK
from tests.integration.daemon.engine import Engine, completed, locked, new_run, parked, unit
from tests.integration.daemon.family import CHILD, done, ends, over, parent_of, start, starting

pytestmark = pytest.mark.anyio
DIGEST = "a" * 32
ERRANDS = "SELECT FROM aiki.errands FOR UPDATE"


async def in_turn(engine: Engine, run_id: str, *acts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Let acts wait for a run's row, one after the other, and go on in that order; return what they return."""
    async with locked(engine.database, LOCK, run_id) as holder:
        tasks = []
        for count, act in enumerate(acts, 1):
            tasks.append(asyncio.create_task(act))
            await engine.until_waiting(count)
        await holder.commit()
    return [await task for task in tasks]


async def started(engine: Engine, run: Claimed) -> list[Started]:
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    return [msgspec.json.decode(one.value, type=Started) for one in arrivals if one.kind == "op"]


@pytest.mark.parametrize("end_first", [True, False])
async def test_no_parent_sleeps_over_an_end_that_meets_its_park(engine: Engine, rival: Engine, end_first: bool) -> None:
    run = await parent_of(engine, start())
    ending = engine.record(over(await engine.claim_one()))
    parking = rival.record(unit(run.fence, 1, end=parked(0, CHILD)))
    acts = (ending, parking) if end_first else (parking, ending)
    said = await in_turn(engine, run.fence.run_id, *acts)
    (recorded,) = said[end_first]
    # Whoever had the row first: it is told, or it is woken.
    assert await engine.state(run.fence.run_id) is (State.QUEUED if recorded.parked else State.RUNNING)


@pytest.mark.parametrize("end_first", [True, False])
async def test_a_park_and_a_childs_end_in_one_batch_leave_nobody_asleep(engine: Engine, end_first: bool) -> None:
    run = await parent_of(engine, start())
    units = [over(await engine.claim_one()), unit(run.fence, 1, end=parked(0, CHILD))]
    recorded = await engine.record(*(units if end_first else units[::-1]))
    assert recorded[end_first] == Recorded("done", parked=False, news=1)
    assert await engine.state(run.fence.run_id) is State.RUNNING


async def test_the_ends_of_two_children_on_two_daemons_both_reach_a_parent_that_rests(
    engine: Engine, rival: Engine
) -> None:
    run = await parent_of(engine, start(), start())
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD))) == ["done"]
    one, two = await engine.claim(await engine.session())
    await in_turn(engine, run.fence.run_id, engine.record(over(one)), rival.record(over(two)))
    again = await engine.claim_one()
    assert sorted(name for name, _ in ends(again.arrivals)) == sorted([one.fence.run_id, two.fence.run_id])


async def test_families_that_end_on_two_daemons_in_opposite_orders_meet_no_deadlock(
    engine: Engine, rival: Engine
) -> None:
    runs = [await parent_of(engine, start(priority=-9), start(priority=-9)) for _ in range(8)]
    held = await engine.claim(await engine.session(), limit=16)
    of_parent = {run.fence.run_id: [one for one in held if one.parent == run.fence.run_id] for run in runs}
    pairs = list(of_parent.values())
    await asyncio.gather(
        engine.record(*(over(one) for one, _ in pairs)), rival.record(*(over(two) for _, two in reversed(pairs)))
    )
    for run in runs:
        assert len(ends((await engine.inbox(run.fence.run_id)).arrivals)) == 2


async def test_a_parent_that_dies_between_start_and_park_finds_its_childs_end(engine: Engine) -> None:
    child, session = start(), await engine.session()
    await engine.queued_run()
    run = await engine.claim_one(session)
    assert await engine.results(starting(run, child)) == ["done"]
    await engine.expire(session)
    await engine.rescue()
    (held,) = [one for one in await engine.claim(await engine.session()) if one.fence.run_id == child.id]
    assert await engine.results(over(held)) == ["done"]
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD))) == ["fenced"]
    assert [name for name, _ in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [child.id]


async def test_a_cancel_with_the_children_half_started_leaves_none(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    halves = [[start() for _ in range(500)] for _ in range(2)]
    assert await engine.results(starting(run, *halves[0])) == ["done"]
    await control.cancel(engine.pool, engine.namespace, Cancel([run.fence.run_id]))
    late = starting(run, *halves[1], base=1)
    late.entries.append(Entry("cancel:requested", True, Raw(b"{}"), 1_000_000, takes=(1,)))
    assert await engine.results(late) == ["done"]
    await done(engine)
    rows = await engine.execute("SELECT state, count(*) FROM aiki.runs WHERE parent_id IS NOT NULL GROUP BY 1")
    assert rows == [("cancelled", 1_000)]
    ((told,),) = await engine.execute("SELECT news_seq FROM aiki.runs WHERE id = %s", run.fence.run_id)
    assert told == 1_001


@pytest.mark.parametrize("start_first", [True, False])
async def test_no_child_outlives_a_parent_that_is_ended_by_force_while_it_is_started(
    engine: Engine, rival: Engine, start_first: bool
) -> None:
    await engine.queued_run()
    run, child = await engine.claim_one(), start()
    ending = control.cancel(rival.pool, rival.namespace, Cancel([run.fence.run_id], force=True))
    begun = engine.record(starting(run, child))
    said = await in_turn(engine, run.fence.run_id, *((begun, ending) if start_first else (ending, begun)))
    assert [one.result for one in said[not start_first]] == ["done" if start_first else "fenced"]
    await done(engine)
    rows = await engine.execute("SELECT state FROM aiki.runs WHERE id = %s", child.id)
    assert rows == ([("cancelled",)] if start_first else [])


async def test_no_child_outlives_a_parent_whose_deadline_passes_while_it_is_started(
    engine: Engine, rival: Engine
) -> None:
    """A deadline waits for no row: it leaves what is being written to its next look."""
    await engine.queued_run(timeout=1, cancel_timeout=0)
    run, child, other = await engine.claim_one(), start(), start()
    assert await engine.pass_deadlines() == {run.fence.run_id: Step.TELL}
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        begun = asyncio.create_task(engine.record(starting(run, child)))
        await engine.until_waiting()
        assert await rival.pass_deadlines() == {}
        await holder.commit()
    assert (await begun)[0].result == "done"
    assert await rival.pass_deadlines() == {run.fence.run_id: Step.END}
    assert await engine.results(starting(run, other, base=1)) == ["fenced"]
    await done(engine)
    rows = await engine.execute("SELECT id::text, state FROM aiki.runs WHERE parent_id IS NOT NULL")
    assert rows == [(child.id, "cancelled")]


async def test_of_two_parents_that_start_one_key_at_once_one_makes_the_run_and_both_hear_of_its_end(
    engine: Engine, rival: Engine
) -> None:
    for _ in range(2):
        await engine.queued_run()
    runs = await engine.claim(await engine.session())
    children = [start(key="k", digest=DIGEST) for _ in runs]
    # The second has locked its rows before the first has made the key: it meets that where it inserts its own.
    async with locked(engine.database, "LOCK TABLE aiki.keys IN SHARE MODE") as holder:
        both = [
            asyncio.create_task(one.record(starting(run, child)))
            for one, run, child in zip((engine, rival), runs, children, strict=True)
        ]
        await engine.until_waiting(2)
        await holder.commit()
    assert [(await task)[0].result for task in both] == ["done", "done"]
    found = [(await started(engine, run))[0] for run in runs]
    assert sorted(one.result for one in found) == ["existing", "started"]
    (made,) = {one.run_id for one in found}
    await engine.record(over(await engine.claim_one()))
    await done(engine)
    for run, child in zip(runs, children, strict=True):
        arrivals = (await engine.inbox(run.fence.run_id)).arrivals
        assert [(name, end.run_id) for name, end in ends(arrivals)] == [(child.id, made)]


@pytest.mark.parametrize("attach_first", [True, False])
async def test_a_start_that_attaches_to_a_run_whose_end_waits_for_its_row_hears_of_it(
    engine: Engine, rival: Engine, attach_first: bool
) -> None:
    holder = await engine.queued_run(key="k", digest=DIGEST)
    held = await engine.claim_one()
    await engine.queued_run()
    run, child = await engine.claim_one(), start(key="k", digest=DIGEST)
    ending = engine.record(unit(held.fence, end=completed()))
    attaching = rival.record(starting(run, child))
    acts = (attaching, ending) if attach_first else (ending, attaching)
    await in_turn(engine, holder, *acts)
    await done(engine)
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    assert [(name, end.run_id) for name, end in ends(arrivals)] == [(child.id, holder)]


async def test_a_child_that_is_gone_is_not_started_again(engine: Engine) -> None:
    """Its parent has died before it knew that its unit had been written, in parts, and says the same once more."""
    child = start(parent_close="abandon")
    await engine.queued_run()
    run = await engine.claim_one()
    part = msgspec.structs.replace(starting(run, child), entries=[])
    assert await engine.results(part) == ["done"]
    await engine.record(over(await engine.claim_one()))
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", child.id)
    assert await engine.results(starting(run, child)) == ["done"]
    assert await engine.execute("SELECT id FROM aiki.runs WHERE id = %s", child.id) == []
    ((_, end),) = ends((await engine.inbox(run.fence.run_id)).arrivals)
    assert (end.state, bytes(end.output)) == (State.COMPLETED, b"")


async def test_an_errand_that_is_due_again_while_it_is_done_is_not_lost(engine: Engine, rival: Engine) -> None:
    """A cancel's children are being told, by a snapshot of before, when another is started and the parent ends."""
    first = start()
    run = await parent_of(engine, first)
    await control.cancel(engine.pool, engine.namespace, Cancel([run.fence.run_id]))
    told = unit(run.fence, 1, Entry("cancel:requested", True, Raw(b"{}"), 1_000_000, takes=(1,)))
    assert await engine.results(told) == ["done"]
    late = start()
    assert await engine.results(starting(run, late, base=2)) == ["done"]
    async with locked(engine.database, ERRANDS) as holder:
        ending = asyncio.create_task(rival.record(unit(run.fence, 3, end=completed())))
        await engine.until_waiting()
        await holder.execute(b"DELETE FROM aiki.errands")
        await holder.commit()
    assert (await ending)[0].result == "done"
    await done(engine)
    assert [await engine.state(one.id) for one in (first, late)] == [State.CANCELLED, State.CANCELLED]


async def test_who_attaches_while_the_end_is_being_told_hears_of_it(engine: Engine, rival: Engine) -> None:
    holder_id = await engine.queued_run(key="k", digest=DIGEST)
    held = await engine.claim_one()
    first = await parent_of(engine, start(key="k", digest=DIGEST))
    await engine.record(unit(held.fence, end=completed()))
    await engine.queued_run()
    second, child = await engine.claim_one(), start(key="k", digest=DIGEST)
    async with locked(engine.database, ERRANDS) as holder:
        attaching = asyncio.create_task(rival.record(starting(second, child)))
        await engine.until_waiting()
        await holder.execute(b"DELETE FROM aiki.errands")
        await holder.commit()
    await attaching
    await done(engine)
    arrivals = (await engine.inbox(second.fence.run_id)).arrivals
    assert [(name, end.run_id) for name, end in ends(arrivals)] == [(child.id, holder_id)]
    assert await engine.state(first.fence.run_id) is State.RUNNING


async def test_two_daemons_share_errands_and_tell_nobody_twice(engine: Engine, rival: Engine) -> None:
    runs = [await parent_of(engine, *(start(priority=-9) for _ in range(10))) for _ in range(4)]
    children = await engine.claim(await engine.session(), limit=40)
    await engine.record(*(unit(child.fence, end=completed()) for child in children))
    await asyncio.gather(*(done(one) for one in (engine, rival) for _ in range(2)))
    await done(engine)
    for run in runs:
        assert len(ends((await engine.inbox(run.fence.run_id)).arrivals)) == 10


async def test_an_errand_of_a_daemon_that_died_before_it_told_is_done_by_another(engine: Engine, rival: Engine) -> None:
    run = await parent_of(engine, start())
    child = await engine.claim_one()
    await engine.record(unit(child.fence, end=completed()))
    assert await engine.execute("SELECT kind FROM aiki.errands") == [(errands.END,)]
    await done(rival)
    assert len(ends((await engine.inbox(run.fence.run_id)).arrivals)) == 1


def of_key() -> StartOp:
    return start(key="k", digest=DIGEST)


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_start_whose_key_an_enqueue_is_taking_finds_that_run_or_makes_its_own(
    engine: Engine, rival: Engine, is_kept: bool
) -> None:
    await engine.queued_run()
    run, child, other = await engine.claim_one(), of_key(), new_run(key="k", digest=DIGEST)
    async with locked(
        engine.database,
        "INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest) VALUES ('default', %s, 'k', %s, %s)",
        *(other.workflow, other.id, DIGEST),
    ) as taker:
        await taker.execute(
            b"INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input, key, digest)"
            b" VALUES (%s, %s, 'default', %s, %s, 'queued', '{}', 'k', %s)",
            [other.id, other.id, other.workflow, other.version, DIGEST],
        )
        recording = asyncio.create_task(rival.record(starting(run, child)))
        await engine.until_waiting()
        await (taker.commit() if is_kept else taker.rollback())
    assert (await recording)[0].result == "done"
    expected = Started("existing", other.id) if is_kept else Started("started", child.id)
    assert await started(engine, run) == [expected]
