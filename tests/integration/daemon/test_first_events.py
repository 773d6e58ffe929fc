"""A run and its first event in one commit: new or found, waiting or gone, with a key that another is taking."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from anyio import create_task_group
from msgspec import Raw

from aiki.core.errors import Unavailable
from aiki.core.states import State
from aiki.wire.messages import Arrival, Enqueue, EnqueueReply, FirstEvent, NewRun, Route
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, new_run, parked, unit

pytestmark = pytest.mark.anyio
DIGEST = "a" * 32
APPROVED = FirstEvent("approved", Raw(b'"alice"'))


def telling(**fields: Any) -> NewRun:
    return new_run(send=APPROVED, **fields)


def found(**fields: Any) -> NewRun:
    """Return a run whose key may be held by another."""
    return telling(key="k", digest=DIGEST, on_conflict="existing", **fields)


async def arrivals(engine: Engine, run_id: str) -> list[Arrival]:
    return (await engine.inbox(run_id)).arrivals


async def test_a_new_run_has_its_event_from_its_birth(engine: Engine) -> None:
    run, plain = telling(), new_run()
    assert [answer.error for answer in await engine.enqueue(run, plain)] == [None, None]
    (arrival,) = await arrivals(engine, run.id)
    assert (arrival.number, arrival.kind, arrival.name, arrival.value, arrival.id) == (
        *(1, "event", "approved", Raw(b'"alice"')),
        run.id,
    )
    assert await arrivals(engine, plain.id) == []
    claimed = await engine.claim_one()
    assert (claimed.fence.run_id, claimed.news, claimed.arrivals) == (run.id, 1, [arrival])


async def test_a_request_that_is_repeated_sends_its_event_once(engine: Engine) -> None:
    first, run, later = new_run(key="k", digest=DIGEST), telling(), telling(delay=3_600_000_000)
    await engine.enqueue(first)
    again = found()
    for _ in range(2):
        answers = await engine.enqueue(run, again, later)
        assert [(answer.id, answer.error) for answer in answers] == [
            (run.id, None),
            (first.id, None),
            (later.id, None),
        ]
    for run_id in (run.id, first.id, later.id):
        assert len(await arrivals(engine, run_id)) == 1
    # Another enqueue is another event.
    await engine.enqueue(found())
    assert len(await arrivals(engine, first.id)) == 2


async def test_a_run_that_waits_is_found_by_its_key_and_woken(engine: Engine) -> None:
    run_id = await engine.queued_run(key="k", digest=DIGEST)
    claimed = await engine.claim_one()
    await engine.record(unit(claimed.fence, end=parked(0, "event:approved")))
    assert await engine.state(run_id) is State.WAITING
    done = await engine.carry_out(Enqueue([found()]))
    (reply,) = done.replies
    assert isinstance(reply, EnqueueReply)
    assert [(answer.id, answer.created) for answer in reply.runs] == [(run_id, False)]
    assert await engine.state(run_id) is State.QUEUED
    assert dict(done.changes.queued) == {("default", WORKFLOW, VERSION): 1}, "nobody would offer it"


async def test_a_run_that_has_ended_takes_none_and_the_answer_says_how(engine: Engine) -> None:
    run_id = await engine.queued_run(key="k", digest=DIGEST)
    claimed = await engine.claim_one()
    await engine.record(unit(claimed.fence, end=completed()))
    (answer, other) = await engine.enqueue(found(), telling())
    assert answer.error is not None
    assert (answer.id, answer.created, answer.error.code) == (run_id, False, "run_ended")
    assert "it is completed" in answer.error.message
    assert other.error is None
    assert await engine.execute("SELECT FROM aiki.inbox WHERE run_id = %s", run_id) == []


async def test_an_event_that_the_workflow_does_not_declare_stores_nothing(engine: Engine) -> None:
    await engine.session(routes=[Route(WORKFLOW, VERSION, events=Raw(b'{"rejected":{},"approve":{}}'))])
    run, plain = telling(), new_run()
    (refused, stored) = await engine.enqueue(run, plain)
    assert refused.error is not None
    assert (refused.error.code, stored.error) == ("not_found", None)
    assert "declares no event 'approved': did you mean 'approve'?" in refused.error.message
    assert await engine.execute("SELECT count(*) FROM aiki.runs WHERE id = %s", run.id) == [(0,)]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_key_that_another_is_taking_loses_no_event(engine: Engine, is_kept: bool) -> None:
    """The statement waits for the other's commit; its own snapshot holds neither the key nor the run."""
    other = new_run()
    await engine.queued_run()  # the route is known
    async with await psycopg.AsyncConnection.connect(engine.database) as rival:
        await rival.execute(
            "INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest) VALUES ('default', %s, 'k', %s, %s)",
            [WORKFLOW, other.id, DIGEST],
        )
        await rival.execute(
            "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input, key, digest)"
            " VALUES (%s, %s, 'default', %s, %s, 'queued', '{}', 'k', %s)",
            [other.id, other.id, WORKFLOW, VERSION, DIGEST],
        )
        run = found()
        async with create_task_group() as group:
            group.start_soon(engine.enqueue, run)
            await engine.until_waiting()
            await (rival.commit() if is_kept else rival.rollback())
    taker = other.id if is_kept else run.id
    assert [arrival.id for arrival in await arrivals(engine, taker)] == [run.id]


async def test_a_run_whose_event_cannot_be_brought_is_not_there_either(engine: Engine) -> None:
    """Whoever looked between the two would find a run that had not got it, and nobody would bring it any more."""
    await engine.execute(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$"
    )
    await engine.execute("CREATE TRIGGER no_room BEFORE INSERT ON aiki.inbox EXECUTE FUNCTION public.fail()")
    run = telling()
    with pytest.raises(Unavailable, match="no room"):
        await engine.enqueue(run)
    assert await engine.execute("SELECT id FROM aiki.runs") == []
    await engine.execute("DROP TRIGGER no_room ON aiki.inbox")
    assert [answer.error for answer in await engine.enqueue(run)] == [None]
    assert len(await arrivals(engine, run.id)) == 1


async def test_no_worker_is_handed_a_run_whose_event_it_would_not_see(engine: Engine) -> None:
    session = await engine.session()
    engine.park(session, 5)
    plain = new_run()
    done = await engine.carry_out(Enqueue([telling(), plain]))
    assert done.changes.handed == [], "nor one behind it in the queue of its route"
    assert await engine.state(plain.id) is State.QUEUED
