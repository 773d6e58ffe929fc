"""Which code a route has: who brings another one is told of the runs in flight that the one before has begun."""

from __future__ import annotations

import asyncio
import uuid
from unittest.mock import patch

import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move
from aiki.rules.codes import RouteKey
from aiki.wire.limits import COUNTED_RUNS, MESSAGE_BYTES
from aiki.wire.messages import CodeChange, End, Fence, OpenSession, Route, SessionReply
from aikid.engine import sessions
from aikid.store import codes
from aikid.store.pool import Connection
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, locked, unit

pytestmark = pytest.mark.anyio

OLD, NEW, OTHER = "3.11-0000", "3.11-1111", "3.12-2222"


async def opened(
    engine: Engine, code: str, worker: str = "worker", *, session: str | None = None, version: str = VERSION
) -> tuple[str, list[CodeChange]]:
    """Open a session that has this code; return its id and what it is told."""
    request = OpenSession(session or str(uuid.uuid4()), worker, [Route(WORKFLOW, version, fingerprint=code)])
    reply: SessionReply = await sessions.open_session(
        engine.pool, engine.routes, engine.namespace, request, room=MESSAGE_BYTES
    )
    assert reply.alive
    return request.id, reply.changed


async def told(engine: Engine, code: str, worker: str = "worker") -> list[tuple[int, str]]:
    """Open a session that has this code; return how many runs in flight it is told of, and whose code began them."""
    return [(change.runs, change.worker) for change in (await opened(engine, code, worker))[1]]


async def begun_run(engine: Engine, session: str, move: Move | None = None) -> str:
    """Return a run that a session has started, and then left."""
    run_id = await engine.queued_run(priority=5)
    run = await engine.claim_one(session)
    assert run.fence.run_id == run_id
    if move is not None:
        due_at = 4_000_000_000_000_000 if move in (Move.SLEEP, Move.RETRY) else None
        assert await engine.results(unit(run.fence, end=End(move, due_at=due_at, why="so"))) == ["done"]
    return run_id


async def test_who_brings_other_code_is_told_of_the_runs_that_the_one_before_has_begun(engine: Engine) -> None:
    old, changed = await opened(engine, OLD, "first")
    assert changed == []
    ended = await begun_run(engine, old)
    await engine.record(unit(await fence_of(engine, ended), end=completed()))
    for move in (None, Move.SLEEP, Move.WAIT, Move.DIVERGE, Move.RELEASE):
        await begun_run(engine, old, move)
    ((registered_at,),) = await engine.execute(
        "SELECT (extract(epoch FROM fingerprint_at) * 1000000)::bigint FROM aiki.routes WHERE workflow = %s", WORKFLOW
    )
    await engine.queued_run()
    _, changed = await opened(engine, NEW, "second")
    assert changed == [CodeChange(WORKFLOW, VERSION, 5, registered_at, "first")]


async def fence_of(engine: Engine, run_id: str) -> Fence:
    ((epoch, claim_id),) = await engine.execute("SELECT epoch, claim_id FROM aiki.runs WHERE id = %s", run_id)
    return Fence(run_id, epoch, claim_id)


async def test_nobody_is_told_of_the_same_code_nor_of_what_no_run_has_begun(engine: Engine) -> None:
    old, _ = await opened(engine, OLD)
    await engine.queued_run()
    assert await told(engine, NEW) == []
    await begun_run(engine, old, Move.WAIT)
    # It was started after the code had changed, whoever has: nothing is known of another.
    assert await told(engine, NEW) == []
    assert await told(engine, "") == []
    assert await told(engine, OTHER) == [(1, "worker")]


async def test_another_python_is_named(engine: Engine) -> None:
    old, _ = await opened(engine, OLD)
    await begun_run(engine, old, Move.WAIT)
    assert [change.python for change in (await opened(engine, OTHER))[1]] == ["3.11"]


async def test_a_version_of_its_own_is_no_change(engine: Engine) -> None:
    old, _ = await opened(engine, OLD)
    await begun_run(engine, old, Move.WAIT)
    assert (await opened(engine, NEW, version="2.0"))[1] == []


async def test_the_same_is_told_to_a_session_that_asks_again_and_to_no_other(engine: Engine) -> None:
    old, _ = await opened(engine, OLD)
    await begun_run(engine, old, Move.WAIT)
    new, changed = await opened(engine, NEW, "second")
    assert len(changed) == 1
    assert (await opened(engine, NEW, "second", session=new))[1] == changed
    assert await told(engine, NEW, "third") == []


async def test_in_a_rolling_restart_whoever_has_what_another_live_worker_has_changes_nothing(engine: Engine) -> None:
    first, _ = await opened(engine, OLD, "a")
    second, _ = await opened(engine, OLD, "b")
    await begun_run(engine, first, Move.WAIT)
    await engine.close(first)
    new, changed = await opened(engine, NEW, "a'")
    assert [change.worker for change in changed] == ["a"]
    # Half of them are new: one of the old comes back, then one of the new.
    again, changed = await opened(engine, OLD, "c")
    assert changed == []
    assert await told(engine, NEW, "d") == []
    for session in (second, again):
        await engine.close(session)
    # None has the old code any more: who brings it back is told, as of any other.
    assert await told(engine, OLD, "e") == [(1, "a'")]
    await engine.close(new)


async def test_a_session_whose_lease_is_over_has_no_code(engine: Engine) -> None:
    first, _ = await opened(engine, OLD, "a")
    await begun_run(engine, first, Move.WAIT)
    await opened(engine, NEW, "b")
    await engine.expire(first)
    assert await told(engine, OLD, "c") == [(1, "b")]


@pytest.mark.parametrize(("codes", "workers"), [((NEW, NEW), {"a"}), ((NEW, OTHER), {"a", "b"})])
async def test_of_sessions_that_open_at_once_each_is_told_of_what_is_before_it(
    engine: Engine, codes: tuple[str, str], workers: set[str]
) -> None:
    old, _ = await opened(engine, OLD, "old")
    await begun_run(engine, old, Move.WAIT)
    async with locked(engine.database, "SELECT FROM aiki.routes WHERE workflow = %s FOR NO KEY UPDATE", WORKFLOW):
        tasks = [asyncio.create_task(opened(engine, code, worker)) for code, worker in zip(codes, "ab", strict=True)]
        await engine.until_waiting(2)
    changed = [change for _, some in await asyncio.gather(*tasks) for change in some]
    assert len(changed) == len(workers)
    # Two codes: one was before the other, whichever it was.
    assert {change.worker for change in changed} <= {"old", "a", "b"}
    assert sum(change.worker == "old" for change in changed) == 1


async def test_many_runs_are_counted_no_further_than_is_told(engine: Engine) -> None:
    await opened(engine, OLD)
    await engine.execute(
        "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, input, state, started_at)"
        " SELECT one, one, %s, %s, %s, '{}', 'waiting', now() FROM (SELECT gen_random_uuid() AS one"
        " FROM generate_series(1, %s)) AS made",
        *(engine.namespace, WORKFLOW, VERSION, COUNTED_RUNS + 5),
    )
    (change,) = (await opened(engine, NEW))[1]
    assert (change.runs, change.capped) == (COUNTED_RUNS, True)


async def test_another_namespace_has_codes_of_its_own(engine: Engine) -> None:
    old, _ = await opened(engine, OLD)
    await begun_run(engine, old, Move.WAIT)
    engine.namespace = "elsewhere"
    assert await told(engine, NEW) == []


async def test_code_that_did_not_fit_the_first_request_of_an_opening_counts_as_any(engine: Engine) -> None:
    old, _ = await opened(engine, OLD, "a")
    await begun_run(engine, old, Move.WAIT)
    new, changed = await opened(engine, "", "b")
    assert changed == []
    assert len((await opened(engine, NEW, "b", session=new))[1]) == 1
    # It has that code, so who brings it, too, changes nothing.
    assert await told(engine, OTHER, "c") == [(1, "b")]
    assert await told(engine, NEW, "d") == []


async def test_a_session_opens_where_it_cannot_be_counted_what_other_code_has_begun(engine: Engine) -> None:
    """A repeat of the request would fail as well, and a deploy with it."""
    old, _ = await opened(engine, OLD, "first")
    await begun_run(engine, old)

    async def slow(connection: Connection, *_: object) -> dict[RouteKey, int]:
        await connection.execute("SELECT pg_sleep(10)")
        return {}

    with patch.object(codes, "begun_before", slow):
        session, changed = await opened(engine, NEW, "second")
    assert changed == []
    _, changed = await opened(engine, NEW, "second", session=session)
    assert [change.runs for change in changed] == [1], "whoever asks again is told"


async def test_a_fingerprint_that_cannot_be_is_refused_before_anything_is_written(engine: Engine) -> None:
    with pytest.raises(UsageError, match="holds NUL"):
        await opened(engine, "3.11-\0", version="9.9")
    assert not await engine.execute("SELECT FROM aiki.routes WHERE version = '9.9'")
