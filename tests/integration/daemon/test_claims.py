"""Claims: one run, one claim; the best first; a dead session gets none."""

import asyncio
from collections import Counter

import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Cancel, End
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from aikid.engine import claims, control
from tests.integration.daemon.engine import VERSION, Engine, completed, entry, event, locked, new_run, unit

pytestmark = pytest.mark.anyio


async def test_a_run_is_claimed_once_however_many_ask(engine: Engine, rival: Engine) -> None:
    for _ in range(60):
        await engine.queued_run()
    sessions = [await engine.session() for _ in range(6)]
    replies = await asyncio.gather(
        *((engine, rival)[n % 2].claim(session, limit=20) for n, session in enumerate(sessions))
    )
    claimed = Counter(run.fence.run_id for reply in replies for run in reply)
    assert set(claimed.values()) == {1}
    assert len(claimed) + len(await engine.claim(sessions[0], limit=60)) == 60


async def test_the_best_run_is_claimed_first(engine: Engine) -> None:
    """By priority; within one those that have started come first, then who was enqueued first."""
    started = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    batch = [new_run(), new_run(priority=7), new_run(priority=-1), new_run(priority=7), new_run()]
    await engine.enqueue(*batch)
    order = [run.fence.run_id for run in await engine.claim(await engine.session())]
    assert order == [batch[1].id, batch[3].id, started, batch[0].id, batch[4].id, batch[2].id]


async def test_several_routes_are_claimed_together(engine: Engine) -> None:
    await engine.enqueue(*[new_run(workflow=f"flow-{n % 3}", priority=n) for n in range(12)])
    routes = [(f"flow-{n}", VERSION) for n in range(3)]
    session = await engine.session()
    first = await engine.claim_reply(session, limit=5, routes=routes)
    assert ([run.workflow for run in first.runs], first.more) == (
        ["flow-2", "flow-1", "flow-0", "flow-2", "flow-1"],
        True,
    )
    rest = await engine.claim_reply(session, limit=20, routes=routes)
    assert (len(rest.runs), rest.more) == (7, False)


async def test_more_is_said_just_when_more_is_queued(engine: Engine) -> None:
    for _ in range(4):
        await engine.queued_run()
    session = await engine.session()
    replies = [await engine.claim_reply(session, limit=2) for _ in range(3)]
    assert [(len(reply.runs), reply.more) for reply in replies] == [(2, True), (2, False), (0, False)]


async def test_a_session_that_is_not_alive_claims_nothing(engine: Engine) -> None:
    run_id = await engine.queued_run()
    expired, closed = await engine.session(), await engine.session()
    await engine.expire(expired)
    await engine.close(closed)
    for session in (expired, closed, "00000000-0000-7000-8000-000000000000"):
        reply = await engine.claim_reply(session)
        assert (reply.alive, reply.runs) == (False, [])
    assert await engine.state(run_id) is State.QUEUED


async def test_a_session_that_is_being_buried_gets_no_runs(engine: Engine, rival: Engine) -> None:
    """The claim waits for the rescuer's lock on the session, and then finds it closed."""
    run_id = await engine.queued_run()
    session = await engine.session()
    sql = (
        "UPDATE aiki.sessions SET closed_at = now() WHERE id = (SELECT id FROM aiki.sessions WHERE id = %s FOR UPDATE)"
    )
    async with locked(engine.database, sql, session) as rescuer:
        claim = asyncio.create_task(rival.claim_reply(session))
        await engine.until_waiting()
        await rescuer.commit()
    assert (await claim).alive is False
    assert await engine.state(run_id) is State.QUEUED


async def test_the_rescuer_leaves_a_session_that_is_claiming(engine: Engine) -> None:
    session = await engine.session()
    await engine.expire(session)
    async with locked(engine.database, "SELECT FROM aiki.sessions WHERE id = %s FOR KEY SHARE", session):
        assert await engine.rescue() == []
    assert await engine.execute("SELECT closed_at FROM aiki.sessions") == [(None,)]


async def test_a_claim_skips_rows_that_another_holds(engine: Engine) -> None:
    held, free = await engine.queued_run(), await engine.queued_run()
    session = await engine.session()
    async with locked(engine.database, "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE", held):
        assert [run.fence.run_id for run in await engine.claim(session)] == [free]


async def test_the_reply_carries_the_journal_of_a_run_that_began(engine: Engine) -> None:
    await engine.queued_run(labels={"tenant": "a"}, key="k", digest="0" * 32)
    first = await engine.claim_one()
    await engine.record(unit(first.fence, 0, entry("a"), entry("b"), end=End(Move.SLEEP, due_at=1)))
    await engine.wake()
    again = await engine.claim_one()
    assert [one.key for one in again.entries] == ["task:a:0:0", "task:b:0:0"]
    assert (again.length, again.claims, again.labels, again.key) == (2, 2, {"tenant": "a"}, "k")
    assert (again.started_at, again.origin_id) == (first.started_at, first.fence.run_id)


async def test_a_run_that_is_taken_up_again_is_still_in_its_first_attempt(engine: Engine) -> None:
    run_id = await engine.queued_run()
    for number in (1, 2, 3):
        claimed = await engine.claim_one()
        assert (claimed.claims, claimed.attempt) == (number, 1)
        status = await engine.status(run_id)
        assert (status.claims, status.attempt) == (number, 1)
        await engine.record(unit(claimed.fence, 0, end=End(Move.RELEASE)))


async def test_a_reply_stays_within_a_message(engine: Engine) -> None:
    large = Raw(b'"' + b"x" * 200_000 + b'"')
    for _ in range(6):
        await engine.queued_run(input=large)
    session = await engine.session()
    reply = await engine.claim_reply(session, limit=6)
    assert (len(reply.runs), reply.more) == (1, True)
    assert len(codec.encode_reply(reply)) < MESSAGE_BYTES


async def test_a_long_journal_comes_in_pages(engine: Engine) -> None:
    await engine.queued_run()
    first = await engine.claim_one()
    large = Raw(b'"' + b"x" * 100_000 + b'"')
    for base in range(6):
        await engine.record(unit(first.fence, base, entry(f"t{base}", large)))
    await engine.record(unit(first.fence, 6, end=End(Move.RELEASE)))
    again = await engine.claim_one()
    assert (len(again.entries), again.length) == (2, 6)
    assert len(codec.encode(again)) < MESSAGE_BYTES


async def test_runs_that_a_reply_cannot_carry_are_queued_again(engine: Engine) -> None:
    for _ in range(3):
        await engine.queued_run(input=Raw(b'"' + b"x" * 90_000 + b'"'))
    reply = await engine.claim_reply(await engine.session(), limit=3)
    for run in reply.runs:
        run.input = Raw(b'"' + b"y" * 300_000 + b'"')
    light, blocked = await claims.lighten(engine.pool, engine.namespace, reply, room=MESSAGE_BYTES)
    assert (len(light.runs), light.more, blocked) == (1, True, [])
    states = Counter([await engine.state(run.fence.run_id) for run in reply.runs])
    assert states == {State.RUNNING: 1, State.QUEUED: 2}


async def test_a_suspect_comes_alone(engine: Engine) -> None:
    suspects = [await engine.queued_run() for _ in range(3)]
    await engine.execute("UPDATE aiki.runs SET crash_count = 2")
    plain = await engine.queued_run()
    session, other = await engine.session(), await engine.session()
    first = await engine.claim(session)
    assert sorted(run.suspect for run in first) == [False, True]
    assert plain in {run.fence.run_id for run in first}
    assert await engine.claim(session) == []
    assert [run.suspect for run in await engine.claim(other)] == [True]
    (suspect,) = [run for run in first if run.suspect]
    await engine.record(unit(suspect.fence, end=completed()))
    assert [run.fence.run_id in suspects for run in await engine.claim(session)] == [True]


async def test_a_claim_whose_reply_was_lost_is_found_by_the_renewal(engine: Engine) -> None:
    await engine.queued_run()
    session = await engine.session()
    lost = await engine.claim_one(session)
    assert (await engine.renew(session)).unlisted == []
    await engine.execute("UPDATE aiki.runs SET last_claimed_at = now() - interval '11 s'")
    assert (await engine.renew(session, lost.fence.claim_id)).unlisted == []
    assert (await engine.renew(session, "another")).unlisted == [lost.fence]
    await engine.record(unit(lost.fence, end=End(Move.RELEASE)))
    assert (await engine.renew(session)).unlisted == []


async def test_a_renewal_that_has_no_room_for_all_claims_is_told_only_of_those_within_its_bounds(
    engine: Engine,
) -> None:
    """A worker with thousands of claims lists some in each renewal: the others are not lost for that."""
    session = await engine.session()
    claims = {}
    for _ in range(4):
        await engine.queued_run()
        claim = await engine.claim_one(session)
        claims[claim.fence.claim_id] = claim.fence
    one, two, three, four = sorted(claims)
    await engine.execute("UPDATE aiki.runs SET last_claimed_at = now() - interval '11 s'")
    assert (await engine.renew(session, one, until=two)).unlisted == [claims[two]]
    assert (await engine.renew(session, one, two, until=two)).unlisted == []
    assert (await engine.renew(session, three, after=two)).unlisted == [claims[four]]
    assert (await engine.renew(session, three, four, after=two)).unlisted == []
    assert len((await engine.renew(session, after="no token!", until="\0")).unlisted) == 4


async def test_a_renewal_is_told_of_claims_that_have_lost_a_run_without_their_worker(engine: Engine) -> None:
    session, other = await engine.session(), await engine.session()
    await engine.enqueue(new_run(), new_run())
    whole, ended = await engine.claim(session)
    claim = whole.fence.claim_id
    assert (await engine.renew(session, claim, counts=[2])).short == []
    await control.cancel(engine.pool, engine.namespace, Cancel([ended.fence.run_id], force=True))
    assert (await engine.renew(session, claim, counts=[2])).short == [claim]
    assert (await engine.renew(session, claim, counts=[1])).short == []
    assert (await engine.renew(session, claim, "another", counts=[1])).short == [], (
        "who says no number is short of none"
    )
    assert (await engine.renew(other, claim, "another", counts=[1, 0])).short == [claim], "it is not this session's"
    assert (await engine.renew(session, "gone", counts=[1])).short == ["gone"]


async def test_a_renewal_is_told_of_as_many_lost_claims_as_fit(engine: Engine) -> None:
    engine.room = MAX_PAYLOAD_LEAST
    session = await engine.session()
    await engine.enqueue(*(new_run() for _ in range(300)))
    while await engine.claim(session, limit=200):
        continue
    await engine.execute("UPDATE aiki.runs SET last_claimed_at = now() - interval '11 s'")
    reply = await engine.renew(session)
    assert 200 < len(reply.unlisted) < 300
    assert len(codec.encode_reply(reply)) < MAX_PAYLOAD_LEAST

    # Beside those with news.
    await engine.send(*(event(fence.run_id) for fence in reply.unlisted))
    reply = await engine.renew(session)
    assert len(reply.news) > 200
    assert len(reply.unlisted) > 100
    assert len(codec.encode_reply(reply)) < MAX_PAYLOAD_LEAST
