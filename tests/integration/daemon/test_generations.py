"""A run that goes on in another generation has left its journal behind: no statement mixes the two."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.wire.messages import Attempt, Claimed, End, History, Page
from aikid.engine import journal
from aikid.store.status import COUNTED
from tests.integration.daemon.engine import Engine, completed, entry, onward, unit

pytestmark = pytest.mark.anyio
FAILED = Raw(b'{"message":"no","type":"E"}')
FAR = 4_000_000_000_000_000


async def continued(engine: Engine) -> Claimed:
    """Return a claim of a run in its second generation, whose first has left more than a hundred entries and a try."""
    run_id = await engine.queued_run()
    first = await engine.claim_one()
    entries = [entry(f"old{n}") for n in range(COUNTED + 5)]
    tried = Attempt("task:old:0:1", 1, FAILED, FAR)
    assert await engine.results(unit(first.fence, 0, *entries, end=onward(), attempts=[tried])) == ["done"]
    await engine.execute("UPDATE aiki.runs SET attempt = 3 WHERE id = %s", run_id)
    return await engine.claim_one()


async def test_a_claim_brings_the_journal_of_its_generation(engine: Engine) -> None:
    run = await continued(engine)
    assert (run.generation, run.attempt, run.claims) == (1, 3, 2)
    assert (run.entries, run.length, run.attempts, run.tries) == ([], 0, [], 0)


async def test_a_record_counts_from_the_beginning_of_its_generation(engine: Engine) -> None:
    run = await continued(engine)
    assert await engine.results(unit(run.fence, COUNTED + 5, entry("late"))) == ["conflict"]
    first, last = unit(run.fence, 0, entry("new"), attempts=[Attempt("task:old:0:1", 1, FAILED, FAR + 1)]), completed()
    assert await engine.results(first) == ["done"]
    assert await engine.results(first) == ["done"], "a repeat"
    assert await engine.results(unit(run.fence, 0, entry("other"))) == ["conflict"]
    assert await engine.results(unit(run.fence, 1, end=last)) == ["done"]
    counts = await engine.execute("SELECT generation, count(*) FROM aiki.journal GROUP BY 1 ORDER BY 1")
    assert counts == [(0, COUNTED + 5), (1, 1)]
    tries = await engine.execute("SELECT generation, next_at_us FROM aiki.attempts ORDER BY 1")
    assert tries == [(0, FAR), (1, FAR + 1)]


async def test_readers_show_the_generation_that_a_run_is_in(engine: Engine) -> None:
    run = await continued(engine)
    assert (await engine.status(run.fence.run_id)).tasks == 0
    later = Attempt("task:new:0:1", 2, FAILED, FAR)
    await engine.record(unit(run.fence, 0, entry("new"), end=End(Move.RETRY, due_at=FAR), attempts=[later]))
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.tasks, status.attempt) == (State.RETRYING, 1, 3)
    of_run = Page(run.fence.run_id)
    entries = (await journal.page(engine.pool, engine.namespace, of_run, room=engine.room)).entries
    assert [one.key for one in entries] == ["task:new:0:0"]
    of_tries = Page(run.fence.run_id, tried_after="")
    tries = (await journal.page(engine.pool, engine.namespace, of_tries, room=engine.room)).attempts
    assert [one.key for one in tries] == ["task:new:0:1"]
    told = (await journal.story(engine.pool, engine.namespace, History(run.fence.run_id), room=engine.room)).items
    assert sorted(one.key for one in told if one.key and one.generation) == ["task:new:0:0", "task:new:0:1"]


async def test_tasks_are_counted_within_a_generation(engine: Engine) -> None:
    run = await continued(engine)
    await engine.record(unit(run.fence, 0, *(entry(f"new{n}") for n in range(COUNTED + 1))))
    counted = await engine.execute("SELECT generation, seq, tasks FROM aiki.task_counts ORDER BY 1")
    assert counted == [(0, COUNTED + 5, COUNTED + 5), (1, COUNTED + 1, COUNTED + 1)]
    assert (await engine.status(run.fence.run_id)).tasks == COUNTED + 1


async def test_the_rescuer_measures_a_journal_of_its_generation(engine: Engine) -> None:
    run = await continued(engine)
    await engine.record(unit(run.fence, 0, entry("new")))
    ((session,),) = await engine.execute("SELECT session_id::text FROM aiki.runs")
    await engine.expire(session)
    await engine.rescue()
    assert await engine.execute("SELECT crash_length FROM aiki.runs") == [(1,)]
