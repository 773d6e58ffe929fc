"""What reaches a run is kept once, in its order, and wakes it: none is lost between any two of those who act."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from aiki.core.errors import NotFound
from aiki.core.states import Move, State
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import Arrival, Claimed, End, Outcome, Recorded, Unit
from tests.integration.daemon.engine import (
    VERSION,
    WORKFLOW,
    Engine,
    completed,
    entry,
    event,
    locked,
    new_id,
    parked,
    unit,
)

pytestmark = pytest.mark.anyio

APPROVED = "event:approved"
LOCK = "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE"


def results(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.result for outcome in outcomes]


def taken(arrivals: Sequence[Arrival]) -> list[tuple[int, str, str]]:
    return [(one.number, one.kind, one.name) for one in arrivals]


async def held(engine: Engine, session: str | None = None) -> Claimed:
    """Return a run that is claimed."""
    await engine.queued_run()
    return await engine.claim_one(session)


async def waiting(engine: Engine, *waits: str) -> str:
    """Return a run that has parked."""
    run = await held(engine)
    assert await engine.record(unit(run.fence, end=parked(run.news, *waits))) == [Recorded("done")]
    return run.fence.run_id


# -- sending


async def test_events_are_kept_in_order_until_the_run_takes_them(engine: Engine) -> None:
    run_id = await engine.queued_run()
    sent = [event(run_id, name, f"{n}".encode()) for n, name in enumerate(("approved", "ping", "approved"))]
    assert results(await engine.send(*sent)) == ["taken"] * 3
    run = await engine.claim_one()
    assert (run.news, run.unread) == (3, 3)
    assert taken(run.arrivals) == [(1, "event", "approved"), (2, "event", "ping"), (3, "event", "approved")]
    assert [(one.id, one.value) for one in run.arrivals] == [(one.id, one.value) for one in sent]
    times = [one.at for one in run.arrivals]
    assert times == sorted(set(times)), "they rise with the numbers"


@pytest.mark.parametrize("state", State)
async def test_an_event_is_taken_in_every_state_but_an_ended_one(engine: Engine, state: State) -> None:
    run_id = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET state = %s WHERE id = %s", state, run_id)
    (outcome,) = await engine.send(event(run_id))
    if state in (State.COMPLETED, State.FAILED, State.CANCELLED):
        assert (outcome.result, outcome.state) == ("ended", state)
        assert f"it is {state}" in (outcome.message or "")
    else:
        assert outcome == Outcome("taken")
        assert await engine.state(run_id) is state


async def test_a_run_that_does_not_exist_or_is_anothers_is_unknown(engine: Engine, rival: Engine) -> None:
    run_id = await rival.queued_run()
    engine.namespace = "theirs"
    outcomes = await engine.send(event(run_id), event(new_id()))
    assert results(outcomes) == ["unknown", "unknown"]
    assert all("in namespace 'theirs'" in (outcome.message or "") for outcome in outcomes)
    assert (await rival.inbox(run_id)).arrivals == []
    with pytest.raises(NotFound):
        await engine.inbox(run_id)


async def test_what_cannot_be_sent_is_refused_alone(engine: Engine) -> None:
    run_id = await engine.queued_run()
    outcomes = await engine.send(
        event(run_id, "a b"), event(run_id, value=b"{"), event(run_id), event(run_id, key="k"), event("x")
    )
    assert results(outcomes) == ["refused", "refused", "taken", "refused", "refused"]
    assert all(outcome.message for outcome in outcomes if outcome.result == "refused")


async def test_a_repeated_send_is_taken_once_also_after_its_consumption(engine: Engine, rival: Engine) -> None:
    run = await held(engine)
    one = event(run.fence.run_id)
    assert results(await engine.send(one, one)) == ["taken", "repeated"]
    assert results(await rival.send(one)) == ["repeated"]
    consuming = Unit(run.fence, 0, [replace(entry("wait"), takes=(1,))], [])
    assert (await engine.record(consuming))[0].result == "done"
    assert results(await engine.send(one)) == ["repeated"]
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    assert results(await engine.send(one)) == ["repeated"]
    assert (await engine.inbox(run.fence.run_id)).arrivals == []


async def test_a_key_is_taken_once_whoever_sends_it(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    keyed: dict[str, Any] = {"key": "k", "digest": "0" * 32}
    together = [event(run_id, **keyed), event(run_id, **keyed), event(run_id, key="k", digest="1" * 32)]
    assert results(await engine.send(*together)) == ["taken", "repeated", "conflict"]
    (again, other) = await rival.send(event(run_id, **keyed), event(run_id, key="k", digest="1" * 32))
    assert (again.result, other.result) == ("repeated", "conflict")
    assert "idempotency key" in (other.message or "")
    assert results(await rival.send(event(run_id, "rejected", **keyed))) == ["taken"]


async def test_two_clients_with_one_key_at_once_have_one_event_taken(engine: Engine, rival: Engine) -> None:
    run_id = await engine.queued_run()
    keyed: dict[str, Any] = {"key": "k", "digest": "0" * 32}
    async with locked(engine.database, LOCK, run_id) as holder:
        sends = [asyncio.create_task(one.send(event(run_id, **keyed))) for one in (engine, rival)]
        await engine.until_waiting(2)
        await holder.commit()
    assert sorted(results([(await send)[0] for send in sends])) == ["repeated", "taken"]
    assert len((await engine.inbox(run_id)).arrivals) == 1


async def test_no_more_events_are_taken_than_may_be_unread(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    await engine.execute("UPDATE aiki.runs SET unread = %s WHERE id = %s", UNREAD_EVENTS - 2, run_id)
    keyed: dict[str, Any] = {"key": "k", "digest": "0" * 32}
    sent = [event(run_id), event(run_id), event(run_id, **keyed), event(run_id, **keyed)]
    outcomes = await engine.send(*sent)
    assert results(outcomes) == ["taken", "taken", "full", "full"]
    assert f"{UNREAD_EVENTS:,}" in (outcomes[2].message or "")
    await engine.record(Unit(run.fence, 0, [replace(entry("wait"), takes=(1,))], []))
    assert results(await engine.send(*sent)) == ["repeated", "repeated", "taken", "repeated"]


async def test_one_request_reaches_many_runs(engine: Engine) -> None:
    runs = [await waiting(engine, APPROVED) for _ in range(20)]
    done = await engine.sent(*(event(run_id) for run_id in runs))
    assert results(done.replies[0].outcomes) == ["taken"] * 20
    assert dict(done.changes.queued) == {(engine.namespace, WORKFLOW, VERSION): 20}
    assert sorted(done.changes.changed[engine.namespace]) == sorted(runs)


# -- waking


async def test_an_event_wakes_the_run_that_waits_for_it_and_its_story_says_so(engine: Engine) -> None:
    run_id = await waiting(engine, APPROVED, "op")
    done = await engine.sent(event(run_id, "other"))
    assert not done.changes.queued
    assert await engine.state(run_id) is State.WAITING
    await engine.send(event(run_id))
    assert await engine.history(run_id) == ["enqueued", "claim", "wait", "arrive"]
    assert await engine.execute(
        "SELECT reason FROM aiki.run_history WHERE run_id = %s AND move = 'arrive'", run_id
    ) == [(APPROVED,)]
    run = await engine.claim_one()
    assert taken(run.arrivals) == [(1, "event", "other"), (2, "event", "approved")]


async def test_a_run_that_sleeps_and_waits_is_woken_too(engine: Engine) -> None:
    run = await held(engine)
    end = End(Move.SLEEP, due_at=4_000_000_000_000_000, seen=0, waits=[APPROVED])
    assert await engine.record(unit(run.fence, end=end)) == [Recorded("done")]
    await engine.send(event(run.fence.run_id))
    assert await engine.state(run.fence.run_id) is State.QUEUED
    assert await engine.results(unit(run.fence, end=end)) == ["done"], "a late repeat of the park"


async def test_a_wait_with_a_date_ends_at_it(engine: Engine) -> None:
    run = await held(engine)
    assert await engine.record(unit(run.fence, end=parked(0, APPROVED, due_at=1))) == [Recorded("done")]
    assert await engine.wake() == [run.fence.run_id]
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "wait", "due"]


async def test_the_session_that_holds_a_run_is_told(engine: Engine) -> None:
    session = await engine.session()
    run = await held(engine, session)
    done = await engine.sent(event(run.fence.run_id), event(run.fence.run_id))
    assert dict(done.changes.told) == {(engine.namespace, session): [(run.fence.run_id, 2)]}
