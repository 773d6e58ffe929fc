"""What reaches a run is kept once, in its order, and wakes it: none is lost between any two of those who act."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import NotFound, PayloadError
from aiki.core.states import Move, State
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES, UNREAD_EVENTS
from aiki.wire.messages import Attempt, Claim, ClaimReply, End, Outcome, Record, Recorded, Unit
from aiki.wire.packing import MAX_PAYLOAD_LEAST, payload_bytes
from aikid.engine.claims import answer
from aikid.engine.record import record
from tests.integration.daemon.arriving import APPROVED, LOCK, held, results, taken, waiting
from tests.integration.daemon.engine import (
    VERSION,
    WORKFLOW,
    Engine,
    completed,
    entry,
    event,
    locked,
    new_id,
    op,
    parked,
    unit,
)

pytestmark = pytest.mark.anyio


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
    assert (await engine.inbox(run.fence.run_id)).arrivals == []
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    assert results(await engine.send(one)) == ["repeated"]


async def test_the_inbox_of_a_run_that_has_ended_is_not_found(engine: Engine) -> None:
    """So whoever still holds it hears that it has lost it."""
    run = await held(engine)
    assert (await engine.inbox(run.fence.run_id)).arrivals == []
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]
    with pytest.raises(NotFound):
        await engine.inbox(run.fence.run_id)


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


# -- reading


async def test_a_claim_brings_the_first_hundred_and_the_rest_is_read_in_pages(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.send(*(event(run_id) for _ in range(1_150)))
    run = await engine.claim_one()
    assert [one.number for one in run.arrivals] == list(range(1, 101))
    assert (run.news, run.unread) == (100, 1_150)
    second = await engine.inbox(run_id, run.news)
    assert [one.number for one in second.arrivals] == list(range(101, 1_101))
    assert (second.news, second.more) == (1_100, True)
    last = await engine.inbox(run_id, second.news)
    assert (len(last.arrivals), last.news, last.more) == (50, 1_150, False)


@pytest.mark.parametrize("room", [MAX_PAYLOAD_LEAST, MESSAGE_BYTES])
async def test_what_is_large_is_left_to_the_inbox_and_read_one_by_one(engine: Engine, room: int) -> None:
    engine.room = room
    large = b'"' + b"x" * (payload_bytes(room) - 2) + b'"'
    run_id = await engine.queued_run(input=Raw(large))
    assert results(await engine.send(*(event(run_id, value=large) for _ in range(3)))) == ["taken"] * 3
    request = Claim(await engine.session(), "claim-1", [(WORKFLOW, VERSION)], 1)
    (data,) = (await answer(engine.pool, engine.namespace, request, room=room)).replies
    assert len(data) <= room
    (run,) = codec.decode_reply(data, ClaimReply).runs
    assert (run.unread, run.news) == (3, len(run.arrivals))
    seen, more = run.news, True
    while more:
        reply = await engine.inbox(run_id, seen)
        assert len(codec.encode_reply(reply)) <= room
        assert reply.news > seen
        seen, more = reply.news, reply.more
    assert seen == 3


async def test_an_arrival_that_no_message_can_bring_any_more_is_told_of(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.send(event(run_id, value=b'"' + b"x" * 100_000 + b'"'))
    engine.room = MAX_PAYLOAD_LEAST
    with pytest.raises(PayloadError, match="arrival 1 of run"):
        await engine.inbox(run_id)
    assert results(await engine.send(event(run_id, value=b'"' + b"x" * 100_000 + b'"'))) == ["refused"]


async def test_a_run_whose_earlier_arrivals_are_pruned_can_park(engine: Engine) -> None:
    """What was seen is a number, not what is left of it."""
    run = await held(engine)
    await engine.send(event(run.fence.run_id))
    await engine.record(Unit(run.fence, 0, [replace(entry("wait"), takes=(1,))], [], End(Move.RELEASE)))
    await engine.execute("DELETE FROM aiki.inbox")
    again = await engine.claim_one()
    assert (again.news, again.unread, (await engine.inbox(run.fence.run_id)).news) == (1, 0, 1)
    assert (await engine.record(unit(again.fence, 1, end=parked(again.news, APPROVED))))[0].parked


# -- recording


async def test_what_a_unit_sends_is_taken_with_it_and_its_outcome_reaches_the_sender(engine: Engine) -> None:
    target, ended = await waiting(engine, APPROVED), await held(engine)
    await engine.results(unit(ended.fence, end=completed()))
    session = await engine.session()
    run = await held(engine, session)
    keyed: dict[str, Any] = {"key": "k", "digest": "0" * 32}
    other: dict[str, Any] = {"key": "k", "digest": "1" * 32}
    ops = [op(target, **keyed), op(ended.fence.run_id), op(new_id()), op(target, **other), op(target, **keyed)]
    sending = Unit(run.fence, 0, [entry("a")], [], None, ops)
    assert await engine.record(sending) == [Recorded("done", news=5)]
    assert await engine.state(target) is State.QUEUED
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    assert taken(arrivals) == [(n, "op", one.id) for n, one in enumerate(ops, 1)]
    told = [json.loads(bytes(one.value)) for one in arrivals]
    assert [one["result"] for one in told] == ["taken", "ended", "unknown", "conflict", "repeated"]
    assert told[1]["state"] == "completed"
    # Not again by a repeat, of whatever kind.
    assert await engine.results(sending, Unit(run.fence, 1, [], [], None, ops)) == ["done", "done"]
    assert len((await engine.inbox(run.fence.run_id)).arrivals) == 5
    assert len((await engine.inbox(target)).arrivals) == 1


async def test_a_run_may_send_to_itself(engine: Engine) -> None:
    run = await held(engine)
    mine = op(run.fence.run_id)
    assert await engine.record(Unit(run.fence, 0, [], [], None, [mine])) == [Recorded("done", news=2)]
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    assert taken(arrivals) == [(1, "event", "approved"), (2, "op", mine.id)]
    assert arrivals[0].at < arrivals[1].at


async def test_a_fenced_or_contradicting_unit_sends_and_consumes_nothing(engine: Engine) -> None:
    run, target = await held(engine), await engine.queued_run()
    await engine.send(event(run.fence.run_id))
    zombie = replace(run.fence, claim_id="other")
    entries = [replace(entry("wait"), takes=(1,))]
    assert await engine.results(Unit(zombie, 0, entries, [], None, [op(target)])) == ["fenced"]
    assert await engine.results(Unit(run.fence, 7, entries, [], None, [op(target)])) == ["conflict"]
    assert (await engine.inbox(target)).arrivals == []
    assert len((await engine.inbox(run.fence.run_id)).arrivals) == 1


async def test_consumption_and_delivery_are_one_record(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    await engine.send(event(run_id), event(run_id), event(run_id))
    consuming = Unit(run.fence, 0, [entry("a"), replace(entry("wait"), takes=(1, 3))], [])
    assert await engine.record(consuming) == [Recorded("done", news=3)]
    assert await engine.execute("SELECT number, taken_generation, taken_seq FROM aiki.inbox ORDER BY number") == [
        (1, 0, 2),
        (2, None, None),
        (3, 0, 2),
    ]
    assert await engine.execute("SELECT unread, news_seq FROM aiki.runs WHERE id = %s", run_id) == [(1, 3)]
    assert await engine.results(consuming) == ["done"]
    assert await engine.execute("SELECT unread FROM aiki.runs WHERE id = %s", run_id) == [(1,)]
    assert await engine.results(unit(run.fence, 2, end=End(Move.RELEASE))) == ["done"]
    again = await engine.claim_one()
    assert (taken(again.arrivals), again.unread, again.news) == ([(2, "event", "approved")], 1, 3)


@pytest.mark.parametrize("takes", [(2,), (1, 2), (1,)], ids=["never came", "one of two never came", "was taken"])
async def test_a_unit_that_takes_what_its_inbox_does_not_hold_writes_nothing(
    engine: Engine, takes: tuple[int, ...]
) -> None:
    """Whoever sees a worker's inbox can tell it of an event that nobody has sent; the run is replayed then."""
    run, other = await held(engine), await held(engine)
    run_id, target = run.fence.run_id, await engine.queued_run()
    await engine.send(event(run_id), event(other.fence.run_id))
    if takes == (1,):
        await engine.execute("UPDATE aiki.inbox SET taken_generation = 0, taken_seq = 1 WHERE run_id = %s", run_id)
    entries = [entry("a"), replace(entry("wait"), takes=takes)]
    forged = Unit(run.fence, 0, entries, [], completed(), [op(target)])
    sound = Unit(other.fence, 0, [replace(entry("wait"), takes=(1,))], [])
    assert await engine.results(forged, sound) == ["conflict", "done"]
    assert await engine.results(forged) == ["conflict"]
    assert await engine.state(run_id) is State.RUNNING
    assert await engine.journal(run_id) == []
    assert (await engine.inbox(target)).arrivals == []


async def test_a_unit_that_takes_one_arrival_twice_is_refused(engine: Engine) -> None:
    run = await held(engine)
    await engine.send(event(run.fence.run_id))
    twice = [replace(entry(name), takes=(1,)) for name in ("a", "b")]
    (recorded,) = await engine.record(Unit(run.fence, 0, twice, []))
    assert (recorded.result, recorded.reason) == ("refused", "a unit takes one arrival twice")


async def test_a_park_does_not_hold_over_what_its_worker_has_not_seen(engine: Engine) -> None:
    run = await held(engine)
    await engine.send(event(run.fence.run_id, "other"))
    late = unit(run.fence, 0, entry("a"), end=parked(0, APPROVED))
    assert await engine.record(late) == [Recorded("done", parked=False, news=1)]
    assert await engine.state(run.fence.run_id) is State.RUNNING
    assert len(await engine.journal(run.fence.run_id)) == 1, "the entries stand"
    assert await engine.record(late) == [Recorded("done", parked=False, news=1)], "so it is said again"
    assert await engine.record(unit(run.fence, 1, end=parked(1, APPROVED))) == [Recorded("done", news=1)]
    assert await engine.state(run.fence.run_id) is State.WAITING


async def test_what_is_done_beside_a_park_is_done_with_it(engine: Engine) -> None:
    """The statement that folds does all that the plain one does."""
    run = await held(engine)
    tries = [Attempt("k", 1, Raw(b'{"type":"E","message":"m"}'), 77)]
    end = parked(0, APPROVED, due_at=4_000_000_000_000_000)
    watched = {(engine.namespace, run.fence.run_id)}
    parking = Record([unit(run.fence, 0, entry("a"), entry("b"), attempts=tries, end=end)])
    done = await record(engine.pool, [(engine.namespace, parking)], watched, room=engine.room, routes=engine.routes)
    assert [(one.state, one.tasks) for one in done.changes.ended[engine.namespace]] == [(State.WAITING, 2)]
    assert done.changes.due_seconds is not None
    await engine.send(event(run.fence.run_id))
    again = await engine.claim_one()
    assert (again.length, [one.key for one in again.attempts]) == (2, ["k"])
    lasting = Unit(again.fence, 2, [replace(entry("wait"), takes=(1,))], [], completed())
    assert await engine.results(lasting) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, bytes(status.output), status.tasks) == (State.COMPLETED, b'"done"', 3)
    assert status.finished_at is not None
    assert await engine.execute("SELECT state FROM aiki.ended WHERE run_id = %s", run.fence.run_id) == [("completed",)]
