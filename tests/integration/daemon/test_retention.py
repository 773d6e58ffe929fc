"""Ended runs go when their time is over, by whoever says what that is; none goes earlier, and nobody waits for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from aiki.core.errors import NotFound, Unavailable
from aiki.core.retention import ALL, Periods, read
from aiki.core.states import State
from aiki.wire.codec import encode
from aiki.wire.messages import History, ListRuns, Summary
from aikid.engine import journal, reads
from aikid.engine.expiring import Terms
from aikid.loops.pruner import Pruner
from aikid.loops.remover import Remover
from aikid.store.deleting import BATCH, FAMILY
from aikid.store.retention import LOOKED
from tests.clocks import HOUR, set_database_clock
from tests.integration.daemon.deleting import traces
from tests.integration.daemon.engine import STORED_BESIDE, WORKFLOW, Engine, completed, new_run, unit
from tests.integration.daemon.family import done, over, parent_of, start
from tests.integration.daemon.retrying import ended, failed, outcome
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio
BAD = outcome("bad", asked=0, ok=False)
MANY = """
INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input, finished_at, created_at)
SELECT g.id, g.id, 'default', %s, '1.0', 'completed', '1', now(), now() - n * interval '1 ms'
FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, %s) AS n) AS g
"""


async def remove(engine: Engine, retention: str = "keep", *, key_seconds: int = 3_600) -> int:
    """Take steps until all there is has been walked through; return how many runs were deleted."""
    remover = Remover(engine.pool, Terms(read(retention), key_seconds))
    count = await remover.run_once()
    while not remover.is_over:
        count += await remover.run_once()
    return count


async def finished(engine: Engine, end: Any = None, **options: Any) -> str:
    run = await ended(engine, outcome("a", asked=0), end=end or completed(), **options)
    return run.fence.run_id


async def pass_time(engine: Engine, hours: float) -> None:
    await set_database_clock(engine.database, ahead_seconds=hours * HOUR)


async def say(engine: Engine, periods: Periods, *, workflow: str | None = WORKFLOW) -> None:
    """Let a manifest say this of a workflow; without one let the code of the tests' route say it."""
    if workflow is None:
        await engine.execute("UPDATE aiki.routes SET retention = %s", encode(periods))
    else:
        await engine.execute("INSERT INTO aiki.retention VALUES ('default', %s, 'p', %s)", workflow, encode(periods))


async def left(engine: Engine) -> int:
    ((count,),) = await engine.execute("SELECT count(*) FROM aiki.runs")
    return int(count)


async def test_a_run_goes_when_its_period_is_over_since_its_end_and_not_before(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    await pass_time(engine, 5)  # it was created long ago, and ends now
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]
    assert await remove(engine, "2h") == 0
    await pass_time(engine, 6.9)
    assert await remove(engine, "2h") == 0
    await pass_time(engine, 7.1)
    assert await remove(engine) == 0, "nobody says that it is not kept"
    assert await remove(engine, "2h") == 1
    assert await traces(engine, run.fence.run_id) == set()


async def test_each_state_has_a_period_of_its_own_and_what_has_not_ended_stays(engine: Engine) -> None:
    ids = {State.COMPLETED: await finished(engine), State.FAILED: await finished(engine, failed())}
    ids[State.CANCELLED] = await finished(engine)
    await engine.execute("UPDATE aiki.runs SET state = 'cancelled' WHERE id = %s", ids[State.CANCELLED])
    await engine.execute("UPDATE aiki.ended SET state = 'cancelled' WHERE run_id = %s", ids[State.CANCELLED])
    waiting = await engine.queued_run()
    for hours, gone in ((1.1, State.COMPLETED), (2.1, State.CANCELLED), (3.1, State.FAILED)):
        await pass_time(engine, hours)
        assert await remove(engine, "completed=1h,cancelled=2h,failed=3h") == 1
        assert await traces(engine, ids[gone]) == set()
    assert await engine.state(waiting) is State.QUEUED


@pytest.mark.parametrize(
    ("named", "declared", "of_all", "daemon", "goes"),
    [
        ("1h", "keep", "keep", "keep", True),
        ("keep", "1h", "1h", "1h", False),
        (None, "1h", "keep", "keep", True),
        (None, "keep", "1h", "1h", False),
        (None, None, "1h", "keep", True),
        (None, None, "keep", "1h", False),
        (None, None, None, "1h", True),
        (None, None, None, "completed=keep,failed=1h", False),
        ("failed=1h", "completed=1h", None, "keep", True),
        ("failed=1h", None, None, "failed=1h", False),
    ],
)
async def test_who_names_a_workflow_comes_before_its_code_and_both_before_the_rest(
    engine: Engine, named: str | None, declared: str | None, of_all: str | None, daemon: str, goes: bool
) -> None:
    await finished(engine)
    for text, workflow in ((named, WORKFLOW), (declared, None), (of_all, ALL)):
        if text is not None:
            await say(engine, read(text), workflow=workflow)
    await pass_time(engine, 2)
    assert await remove(engine, daemon) == int(goes)


@pytest.mark.parametrize("stored", [b"{", b'{"completed": -1}', b'{"completed": 1}', b'{"completed": "1h"}'])
async def test_what_no_daemon_of_this_release_can_read_keeps_all(engine: Engine, stored: bytes) -> None:
    await finished(engine)
    await engine.execute("INSERT INTO aiki.retention VALUES ('default', %s, 'p', %s)", WORKFLOW, stored)
    await pass_time(engine, 2)
    assert await remove(engine, "1h") == 0


async def test_a_run_that_is_gone_is_told_of_by_no_reader(engine: Engine) -> None:
    run_id = await finished(engine, labels={"tenant": "a"})
    await pass_time(engine, 2)
    assert await remove(engine, "1h") == 1
    for request in (ListRuns(), ListRuns(labels={"tenant": "a"}), ListRuns(states=[State.COMPLETED])):
        assert (await reads.answer(engine.pool, "default", request, room=engine.room)).runs == []  # type: ignore[attr-defined]
    assert (await reads.answer(engine.pool, "default", Summary(), room=engine.room)).rows == []  # type: ignore[attr-defined]
    with pytest.raises(NotFound, match="retention"):
        await journal.story(engine.pool, "default", History(run_id), room=engine.room)


async def test_a_family_goes_from_its_parent_down(engine: Engine) -> None:
    run = await parent_of(engine, start())
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    await pass_time(engine, 2)
    assert await remove(engine, "1h") == 0, "its parent goes on"
    assert await engine.results(unit(run.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    await pass_time(engine, 4)
    assert await remove(engine, "completed=1h") == 0, "its parent may be retried"
    assert [await remove(engine, "1h") for _ in range(2)] == [1, 1]


async def test_daemons_that_walk_at_once_delete_each_run_once(engine: Engine, rival: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, 3 * BATCH + 7)
    await engine.execute(STORED_BESIDE)
    await pass_time(engine, 2)
    counts = await asyncio.gather(*(remove(one, "1h") for one in (engine, rival, engine)))
    assert sum(counts) == 3 * BATCH + 7
    assert await left(engine) == 0


async def test_a_batch_whose_daemon_dies_is_deleted_by_another_whole(engine: Engine, rival: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, 5)
    await engine.execute(STORED_BESIDE)
    await pass_time(engine, 2)
    async with await psycopg.AsyncConnection.connect(engine.database) as holder:
        await holder.execute(b"LOCK TABLE aiki.labels IN EXCLUSIVE MODE")  # the last statement waits for it
        removing = asyncio.create_task(remove(engine, "1h"))
        await engine.until_waiting()
        ((pid,),) = await engine.execute("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)
        await engine.execute("SELECT pg_terminate_backend(%s)", pid)
        assert await left(engine) == 5
        await holder.rollback()
    assert await remove(rival, "1h") == 5


async def test_a_key_is_held_for_its_time_and_then_free(engine: Engine) -> None:
    old = await finished(engine, key="k", digest="0" * 32)
    await pass_time(engine, 2)
    assert await remove(engine, "1h", key_seconds=3_600) == 1
    (found,) = await engine.enqueue(new_run(key="k", digest="0" * 32))
    assert (found.id, found.created) == (old, False)
    await pass_time(engine, 2.9)
    assert await _expired(engine) == 0
    await pass_time(engine, 3.1)
    assert await _expired(engine) == 1
    (found,) = await engine.enqueue(new_run(key="k", digest="1" * 32))
    assert found.created


async def _expired(engine: Engine) -> int:
    pruner = Pruner(engine.pool)
    count = await pruner.run_once()
    while not pruner.is_over:
        count += await pruner.run_once()
    return count


async def test_what_an_outage_has_kept_goes_by_the_next_walk(engine: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, BATCH + 1)
    await engine.execute(STORED_BESIDE)
    await pass_time(engine, 2)
    remover = Remover(engine.pool, Terms(read("1h")))
    while await left(engine) == BATCH + 1:
        await remover.run_once()
    async with await psycopg.AsyncConnection.connect(engine.database) as holder:
        await holder.execute(b"LOCK TABLE aiki.labels IN EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            await remover.run_once()

    async def is_removed() -> bool:
        with suppress(Unavailable):  # for a moment no new connection is made
            await remover.run_once()
        return await left(engine) == 0

    await wait_until(is_removed, what="what was found before goes")


async def test_runs_with_long_journals_go_a_few_at_a_time(engine: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, 10)
    await engine.execute(STORED_BESIDE)
    await engine.execute(
        "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value)"
        " SELECT r.id, n, true, n, 'task:a:0:1', '1' FROM aiki.runs r, generate_series(1, 2_000) n"
    )
    await pass_time(engine, 2)
    remover = Remover(engine.pool, Terms(read("1h")))
    counts = [await remover.run_once()]
    while not remover.is_over:
        counts.append(await remover.run_once())
    assert [count for count in counts if count] == [2] * 5
    assert await engine.execute("SELECT FROM aiki.journal LIMIT 1") == []


async def test_of_a_large_family_the_parent_goes_at_once_and_its_starts_a_thousand_at_a_time(engine: Engine) -> None:
    run_id, other = await finished(engine), await finished(engine)
    await engine.execute("UPDATE aiki.runs SET children = %s WHERE id = %s", FAMILY + 1, run_id)
    await engine.execute(
        "INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)"
        " SELECT p.id, g.id, g.id, 0, true, 'cancel', now() FROM (SELECT gen_random_uuid() AS id, n"
        " FROM generate_series(1, 3_000) AS n) AS g, unnest(%s::uuid[]) AS p(id)",
        [run_id, other],
    )
    await pass_time(engine, 2)
    assert await remove(engine, "1h") == 2
    assert await engine.execute("SELECT parent_id::text, count(*) FROM aiki.children GROUP BY 1") == [(run_id, 3_000)]
    pruner = Pruner(engine.pool)
    deleted = [await pruner.run_once()]
    while deleted[-1]:
        deleted.append(await pruner.run_once())
    assert sum(deleted) == 3_000 + 1
    assert max(deleted) <= 1_000
    assert await traces(engine, run_id) == set()


async def test_it_rests_many_times_as_long_while_others_ask_for_much(engine: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, 3 * BATCH)
    await engine.execute(STORED_BESIDE)
    await pass_time(engine, 2)
    remover = Remover(engine.pool, Terms(read("1h")))
    loop = asyncio.get_running_loop()

    async def step() -> tuple[float, float]:
        """Return how long a step takes, and how long it rests after it."""
        remover.alarm.forget()
        began = loop.time()
        await remover.run_once()
        ended = loop.time()
        return ended - began, remover.alarm._at - ended

    took, quiet = await step()
    while await left(engine) == 3 * BATCH:
        took, quiet = await step()
    assert quiet <= took
    for _ in range(500):
        await engine.pool.run(lambda c: c.execute("SELECT", prepare=True))
    took, busy = await step()
    assert busy > min(5 * took, 4.5)


async def test_it_walks_by_what_stays_at_a_leisurely_pace(engine: Engine) -> None:
    await engine.execute(MANY, WORKFLOW, LOOKED + 1)
    await engine.execute(STORED_BESIDE)
    holder = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET parent_id = %s, parent_generation = 0 WHERE id <> %s", holder, holder)
    await pass_time(engine, 2)
    remover = Remover(engine.pool, Terms(read("1h")))
    for _ in range(2):  # the routes, then the first of these runs
        remover.alarm.forget()
        assert await remover.run_once() == 0
        assert remover.alarm._at - asyncio.get_running_loop().time() > 0.3
    assert not remover.is_over
    assert await left(engine) == LOOKED + 2
