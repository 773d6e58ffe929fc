"""Runs are deleted at a person's word with all their family, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from aiki.core.states import State
from aiki.wire.limits import FAMILY_RUNS
from aiki.wire.messages import Delete, DeletedRun
from aikid.engine import deleting
from tests.integration.daemon.arriving import LOCK
from tests.integration.daemon.deleting import traces
from tests.integration.daemon.engine import Engine, completed, locked, new_id, running_engine, unit
from tests.integration.daemon.family import done, over, parent_of, start, starting
from tests.integration.daemon.retrying import ended, failed, outcome, retried

pytestmark = pytest.mark.anyio
DIGEST = "a" * 32


async def deleted(engine: Engine, *run_ids: str, **order: Any) -> list[DeletedRun]:
    """Give the order, and return what has become of each."""
    namespace = order.pop("namespace", engine.namespace)
    request = Delete(list(run_ids), "alice", **order)
    ((reply),) = (await deleting.delete(engine.pool, namespace, request, key_seconds=60)).replies
    return reply.outcomes


async def grown(engine: Engine) -> tuple[str, str, str]:
    """Return a run that has completed, with a child that has, and that one's."""
    child, grandchild = start(), start()
    run = await parent_of(engine, child)
    other = await engine.claim_one()
    assert await engine.results(starting(other, grandchild)) == ["done"]
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    assert await engine.results(over(other, base=1)) == ["done"]
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    await done(engine)
    return run.fence.run_id, child.id, grandchild.id


async def test_a_run_goes_with_all_that_it_has_started(engine: Engine) -> None:
    family = await grown(engine)
    other = (await ended(engine, outcome("a", asked=0), end=completed())).fence.run_id
    assert await deleted(engine, family[0], preview=True) == [DeletedRun("done", 3)]
    for run_id in family:
        assert "runs" in await traces(engine, run_id)
    assert await deleted(engine, family[0]) == [DeletedRun("done", 3)]
    for run_id in family:
        assert await traces(engine, run_id) == set()
    assert "runs" in await traces(engine, other)
    assert await deleted(engine, family[0], family[1]) == [DeletedRun("unknown")] * 2


async def test_a_run_goes_with_its_retries_and_their_children(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    bad = outcome("bad", asked=1, ok=False)
    assert await engine.results(unit(run.fence, 1, bad, end=failed(2))) == ["done"]
    await done(engine)
    new = (await retried(engine, run.fence.run_id)).run_id
    (live,) = await deleted(engine, run.fence.run_id)
    assert (live.result, live.other, live.state) == ("live", new, State.QUEUED)
    assert await engine.results(unit((await engine.claim_one()).fence, 3, end=completed())) == ["done"]
    await done(engine)
    assert await deleted(engine, new) == [DeletedRun("done", 3)]
    assert [await traces(engine, one) for one in (run.fence.run_id, new, child.id)] == [set()] * 3


async def test_nothing_of_a_family_goes_while_one_of_it_goes_on(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    parent = run.fence.run_id
    assert await deleted(engine, parent) == [DeletedRun("live", other=child.id, state=State.QUEUED)]
    assert await deleted(engine, child.id) == [DeletedRun("live", other=child.id, state=State.QUEUED)]
    assert "journal" in await traces(engine, parent)


async def test_a_child_stays_for_a_parent_that_may_read_it_again_and_goes_with_it(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    bad = outcome("bad", asked=1, ok=False)
    assert await engine.results(unit(run.fence, 1, bad, end=failed(2))) == ["done"]
    await done(engine)
    assert await deleted(engine, child.id) == [DeletedRun("held", other=run.fence.run_id)]
    assert await deleted(engine, run.fence.run_id) == [DeletedRun("done", 2)]


async def test_who_holds_a_row_is_not_waited_for_and_nothing_goes_then(engine: Engine) -> None:
    family = await grown(engine)
    async with locked(engine.database, LOCK, family[2]):
        async with asyncio.timeout(5):
            assert await deleted(engine, family[0]) == [DeletedRun("busy")]
        assert all(["runs" in await traces(engine, run_id) for run_id in family])
    assert await deleted(engine, family[0]) == [DeletedRun("done", 3)]


async def test_keys_are_held_or_forgotten(engine: Engine) -> None:
    for key, forget in {"held": False, "free": True}.items():
        run = await ended(engine, outcome("a", asked=0), end=completed(), key=key, digest=DIGEST)
        assert await deleted(engine, run.fence.run_id, forget_keys=forget) == [DeletedRun("done", 1)]
    assert await engine.execute("SELECT key, expires_at > aiki.now() FROM aiki.keys") == [("held", True)]


async def test_another_namespace_s_runs_are_nobody_s(engine: Engine, database: str) -> None:
    run = await ended(engine, outcome("a", asked=0), end=completed())
    async with running_engine(database, "others"):
        assert await deleted(engine, run.fence.run_id, namespace="others") == [DeletedRun("unknown")]
    assert "runs" in await traces(engine, run.fence.run_id)
    assert await deleted(engine, new_id()) == [DeletedRun("unknown")]


async def test_a_family_beyond_one_commit_is_refused(engine: Engine) -> None:
    family = await grown(engine)
    with patch.object(deleting, "FAMILY_RUNS", 2):
        (large,) = await deleted(engine, family[0])
    assert large.result == "large"
    assert FAMILY_RUNS > 2
    assert all(["runs" in await traces(engine, run_id) for run_id in family])


async def test_two_who_delete_one_family_do_not_halve_it(engine: Engine) -> None:
    for _ in range(5):
        family = await grown(engine)
        found = await asyncio.gather(*(deleted(engine, one) for one in (family[0], family[1], family[0])))
        results = [one.result for (one,) in found]
        assert "done" in results
        if await traces(engine, family[0]):
            assert await deleted(engine, family[0]) == [DeletedRun("done", 1)]
        assert [await traces(engine, run_id) for run_id in family] == [set()] * 3


async def test_a_family_that_takes_longer_than_a_request_may_is_left_whole(engine: Engine) -> None:
    """Else the pool cuts it off, with all connections; and a repeat does so again."""
    family = await grown(engine)
    with patch.object(deleting, "_SECONDS", 0.0):
        assert await deleted(engine, family[0]) == [DeletedRun("large", 3)]
    for run_id in family:
        assert "runs" in await traces(engine, run_id)
    assert await deleted(engine, family[0]) == [DeletedRun("done", 3)]
