"""What is told of versions: their runs in flight, who serves them, since when they have their code; no more is read."""

from __future__ import annotations

import pytest

from aiki.core.states import Move, State
from aiki.wire.limits import COUNTED_RUNS, MESSAGE_BYTES
from aiki.wire.messages import Route, RouteStanding, Workflows, WorkflowsReply
from aikid.engine import reads
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, unit
from tests.integration.daemon.test_codes import NEW, OLD, begun_run, opened

pytestmark = pytest.mark.anyio


async def standings(engine: Engine) -> dict[str, RouteStanding]:
    """Return how each version of the tests' workflow stands."""
    request = Workflows(WORKFLOW, standing=True)
    reply = await reads.answer(engine.pool, engine.namespace, request, room=MESSAGE_BYTES)
    assert isinstance(reply, WorkflowsReply)
    return {route.version: route.standing for route in reply.routes if route.standing is not None}


async def test_runs_in_flight_are_counted_by_state(engine: Engine) -> None:
    session, _ = await opened(engine, OLD, "b")
    await opened(engine, OLD, "a")
    for move in (None, Move.SLEEP, Move.WAIT, Move.WAIT, Move.DIVERGE):
        await begun_run(engine, session, move)
    await engine.queued_run()
    await engine.queued_run(delay=3_600_000_000)
    ended = await engine.queued_run(priority=9)
    await engine.record(unit((await engine.claim_one(session)).fence, end=completed()))
    (standing,) = (await standings(engine)).values()
    assert standing.runs == {
        State.RUNNING: 1,
        State.SLEEPING: 1,
        State.WAITING: 2,
        State.BLOCKED: 1,
        State.QUEUED: 1,
        State.SCHEDULED: 1,
    }
    assert (standing.workers, standing.worker_names, standing.capped) == (2, ["a", "b"], [])
    assert (standing.code_by, standing.is_registered, standing.has_schedule) == ("b", True, False)
    assert standing.last_start == (await engine.status(ended)).started_at


async def test_a_version_that_nobody_serves_any_more_says_so(engine: Engine) -> None:
    old, _ = await opened(engine, OLD, "old")
    await begun_run(engine, old, Move.WAIT)
    await engine.close(old)
    await opened(engine, NEW, "new", version="2.0")
    await engine.queued_run(version="3.0")
    found = await standings(engine)
    assert [(version, one.workers, one.is_registered, one.runs) for version, one in sorted(found.items())] == [
        (VERSION, 0, True, {State.WAITING: 1}),
        ("2.0", 1, True, {}),
        ("3.0", 0, False, {State.QUEUED: 1}),
    ]


async def test_without_its_standing_a_version_that_was_only_enqueued_to_is_not_told(engine: Engine) -> None:
    await opened(engine, OLD)
    await engine.queued_run(version="3.0")
    reply = await reads.answer(engine.pool, engine.namespace, Workflows(WORKFLOW), room=MESSAGE_BYTES)
    assert isinstance(reply, WorkflowsReply)
    assert [(route.version, route.standing) for route in reply.routes] == [(VERSION, None)]


async def test_many_runs_are_counted_no_further_than_is_told(engine: Engine) -> None:
    await engine.session()
    for state, runs in ((State.QUEUED, COUNTED_RUNS + 2), (State.WAITING, COUNTED_RUNS + 1), (State.PAUSED, 3)):
        await engine.execute(
            "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, input, state)"
            " SELECT one, one, %s, %s, %s, '{}', %s FROM (SELECT gen_random_uuid() AS one"
            " FROM generate_series(1, %s)) AS made",
            *(engine.namespace, WORKFLOW, VERSION, state, runs),
        )
    (standing,) = (await standings(engine)).values()
    assert standing.runs == {State.QUEUED: COUNTED_RUNS, State.WAITING: COUNTED_RUNS, State.PAUSED: 3}
    assert sorted(standing.capped) == [State.QUEUED, State.WAITING]


async def test_all_pages_together_are_all_versions(engine: Engine) -> None:
    await engine.session(routes=[Route(WORKFLOW, f"{n}") for n in range(230)], worker="w" * 200)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        request = Workflows(WORKFLOW, cursor, standing=True)
        reply = await reads.answer(engine.pool, engine.namespace, request, room=MESSAGE_BYTES)
        assert isinstance(reply, WorkflowsReply)
        seen += [route.version for route in reply.routes]
        if (cursor := reply.cursor) is None:
            break
    assert sorted(seen) == sorted(f"{n}" for n in range(230))
