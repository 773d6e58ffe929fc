"""What a family costs in rows and commits: as much for each child, however many there are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiki.core.states import Move
from aiki.wire.messages import Cancel, End
from aikid.engine import control
from tests.integration.daemon.costing import CountedPool
from tests.integration.daemon.engine import Engine, completed, parked, unit
from tests.integration.daemon.family import CHILD, done, over, start, starting
from tests.waiting import patient

pytestmark = pytest.mark.anyio
WATCH = (
    "CREATE TABLE public.changed (id uuid, tx bigint)",
    "CREATE FUNCTION public.change() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO public.changed VALUES (new.id, txid_current()); RETURN NULL; END $$",
    "CREATE TRIGGER changes AFTER UPDATE ON aiki.runs FOR EACH ROW EXECUTE FUNCTION public.change()",
)
CHANGES = "SELECT count(*), count(DISTINCT tx) FROM public.changed WHERE id = %s"


async def changes(engine: Engine, run_id: str) -> tuple[int, int]:
    """Return how often the row of a run was changed, and by how many commits, since this was last asked."""
    (found,) = await engine.execute(CHANGES, run_id)
    await engine.execute("DELETE FROM public.changed")
    return found[0], found[1]


@asynccontextmanager
async def counting(engine: Engine) -> AsyncIterator[CountedPool]:
    """Let the engine use a pool that counts what it sends to Postgres."""
    before, pool = engine.pool, CountedPool(engine.database)
    engine.pool = pool
    try:
        yield pool
    finally:
        engine.pool = before
        await pool.aclose()


@pytest.mark.parametrize("count", [100, 1_000])
async def test_children_are_started_and_heard_of_with_few_changes_of_their_parent(engine: Engine, count: int) -> None:
    for statement in WATCH:
        await engine.execute(statement)
    await engine.queued_run()
    run = await engine.claim_one()
    run_id = run.fence.run_id
    await changes(engine, run_id)
    async with counting(engine) as pool:
        assert await engine.results(starting(run, *(start() for _ in range(count)))) == ["done"]
    assert (await changes(engine, run_id), pool.count) == ((1, 1), 1)
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD, ends=count))) == ["done"]
    session = await engine.session()
    children = [one for _ in range(count // 100) for one in await engine.claim(session, limit=100)]
    await changes(engine, run_id)
    async with counting(engine) as pool:
        assert set(await engine.results(*(over(child, b'"%s"' % (b"x" * 100)) for child in children))) == {"done"}
    assert (await changes(engine, run_id), pool.count) == ((1, 1), 1)
    ((stored,),) = await engine.execute("SELECT sum(octet_length(value)) FROM aiki.inbox")
    assert stored < 90 * count, "outputs stand with the children alone"
    assert (await engine.claim_one(session)).unread == count


@pytest.mark.parametrize("count", [100, 1_000])
async def test_ends_that_nobody_told_are_folded_into_one_change_of_the_parent(engine: Engine, count: int) -> None:
    for statement in WATCH:
        await engine.execute(statement)
    await engine.queued_run()
    run = await engine.claim_one()
    assert await engine.results(starting(run, *(start() for _ in range(count)))) == ["done"]
    session = await engine.session()
    children = [one for _ in range(count // 100) for one in await engine.claim(session, limit=100)]
    await engine.record(*(unit(child.fence, end=completed()) for child in children))
    await changes(engine, run.fence.run_id)
    await done(engine)
    assert await changes(engine, run.fence.run_id) == (1, 1)


async def test_a_thousand_children_are_started_told_and_closed_in_a_breath(engine: Engine) -> None:
    """No plan compares each with each: that would take seconds."""
    await engine.queued_run()
    run = await engine.claim_one()
    before = time.perf_counter()
    assert await engine.results(starting(run, *(start() for _ in range(1_000)))) == ["done"]
    started = time.perf_counter()
    await control.cancel(engine.pool, engine.namespace, Cancel([run.fence.run_id], force=True))
    await done(engine)
    closed = time.perf_counter()
    assert started - before < patient(1.0)
    assert closed - started < patient(1.0)
    assert await engine.results(unit(run.fence, 1, end=End(Move.RELEASE))) == ["fenced"]
