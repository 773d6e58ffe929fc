"""A run goes on in its next generation: what that begins with, what stays, whom it meets; each meeting is forced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Raw, structs

from aiki.core.states import Move, State
from aiki.wire.messages import (
    UNDER_WAY,
    Attempt,
    Cancel,
    Claimed,
    End,
    Pause,
    Resume,
    RunOptions,
    Unit,
    Wake,
)
from aikid.engine import control
from tests.integration.daemon.arriving import LOCK, held, taken
from tests.integration.daemon.engine import (
    VERSION,
    WORKFLOW,
    Engine,
    completed,
    entry,
    event,
    locked,
    new_id,
    new_run,
    onward,
    op,
    unit,
)

pytestmark = pytest.mark.anyio
DETAILS = "details:run"


async def went_on(engine: Engine, run: Claimed, *entries: Any, **fields: Any) -> Claimed:
    """Let the run go on, and return its next claim."""
    assert await engine.results(unit(run.fence, 0, *entries, end=onward(**fields))) == ["done"]
    return await engine.claim_one()


async def cancel(engine: Engine, run_id: str) -> str:
    (reply,) = (await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))).replies
    return reply.outcomes[0].result


async def meet(engine: Engine, run: Claimed, first: Callable[[], Awaitable[Any]], second: Callable[[], Any]) -> Any:
    """Let both wait for the row of the run, in this order, and return what came of each."""
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        one = asyncio.ensure_future(first())
        await engine.until_waiting()
        other = asyncio.ensure_future(second())
        await engine.until_waiting(2)
        await holder.commit()
    return await one, await other


# -- what the next generation begins with


async def test_the_next_generation_has_its_own_input_and_an_empty_journal(engine: Engine) -> None:
    run = await held(engine)
    again = await went_on(engine, run, entry("a"), input=b'{"n":2}')
    assert (again.fence.run_id, again.generation, again.attempt, again.claims) == (run.fence.run_id, 1, 1, 2)
    assert (bytes(again.input), again.entries, again.length) == (b'{"n":2}', [], 0)
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "continue", "claim"]


async def test_what_stays_of_a_run_over_its_generations(engine: Engine) -> None:
    options = RunOptions(key="k", priority=3, labels={"team": "a"}, timeout=3_600_000_000)
    request = structs.replace(new_run(), options=options, digest="0" * 32)
    await engine.enqueue(request)
    run = await engine.claim_one()
    before = await engine.status(request.id)
    again = await went_on(engine, run)
    assert (again.key, again.labels, again.origin_id) == ("k", {"team": "a"}, request.id)
    after = await engine.status(request.id)
    assert (after.priority, after.deadline, after.started_at) == (3, before.deadline, before.started_at)
    (found,) = await engine.enqueue(structs.replace(request, id=new_id()))
    assert (found.id, found.created) == (request.id, False), "the key stands for what it was enqueued with"


async def test_a_generation_begins_at_its_own_first_claim_and_keeps_that_time(engine: Engine) -> None:
    run = await held(engine)
    again = await went_on(engine, run)
    assert again.started_at > run.started_at
    await engine.record(unit(again.fence, end=End(Move.RELEASE)))
    assert (await engine.claim_one()).started_at == again.started_at


async def test_another_version_carries_the_next_generation_out(engine: Engine) -> None:
    run = await held(engine)
    done = await engine.recorded(unit(run.fence, end=onward(version="2.0")))
    route = (engine.namespace, WORKFLOW, "2.0")
    assert (dict(done.changes.queued), dict(done.changes.woken)) == ({route: 1}, {route: 1})
    session = await engine.session()
    assert await engine.claim(session) == []
    (again,) = (await engine.claim_reply(session, routes=[(WORKFLOW, "2.0")])).runs
    assert (again.version, again.generation) == ("2.0", 1)
    known = await engine.execute("SELECT version FROM aiki.routes WHERE workflow = %s ORDER BY 1", WORKFLOW)
    assert known == [(VERSION,), ("2.0",)]


async def test_what_a_run_shows_of_itself_stays_until_it_shows_something_else(engine: Engine) -> None:
    run = await held(engine)
    shown = Attempt(DETAILS, 1, UNDER_WAY, None, Raw(b'[{"step":1}]'), 5)
    await engine.record(unit(run.fence, attempts=[shown], end=onward()))
    assert bytes((await engine.status(run.fence.run_id)).details) == b'{"step":1}'
    again = await engine.claim_one()
    assert [one.key for one in again.attempts] == [DETAILS]
    later = structs.replace(shown, details=Raw(b'[{"step":2}]'), details_at=6)
    assert await engine.results(unit(again.fence, attempts=[later], end=completed())) == ["done"]
    assert bytes((await engine.status(run.fence.run_id)).details) == b'{"step":2}'


async def test_unread_events_go_on_to_the_next_generation_and_answers_to_the_last_one_do_not(engine: Engine) -> None:
    run = await held(engine)
    await engine.send(event(run.fence.run_id, "first"), event(run.fence.run_id, "second"))
    takes = structs.replace(entry("a"), takes=(1,))
    ops = [op(run.fence.run_id, "third")]
    assert [one.result for one in await engine.record(Unit(run.fence, 0, [takes], [], onward(), ops))] == ["done"]
    again = await engine.claim_one()
    assert taken(again.arrivals) == [(2, "event", "second"), (3, "event", "third")]
    assert (again.unread, again.news, (await engine.status(run.fence.run_id)).unread) == (2, 4, 2)
    kept = "SELECT number, taken_generation, taken_seq FROM aiki.inbox WHERE taken_seq IS NOT NULL ORDER BY 1"
    assert await engine.execute(kept) == [(1, 0, 1), (4, 0, 0)]


async def test_crashes_are_counted_anew_against_the_journal_of_a_generation(engine: Engine) -> None:
    run = await held(engine)
    await engine.record(unit(run.fence, 0, entry("a"), entry("b")))
    for _ in range(2):
        ((session,),) = await engine.execute("SELECT session_id::text FROM aiki.runs")
        await engine.expire(session)
        await engine.rescue()
        run = await engine.claim_one() if await engine.state(run.fence.run_id) is State.QUEUED else run
    await engine.execute("UPDATE aiki.runs SET due_at = now()")
    await engine.wake()
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 2, end=onward())) == ["done"]
    assert await engine.execute("SELECT crash_count, crash_length FROM aiki.runs") == [(0, 0)]


@pytest.mark.parametrize(
    "end",
    [
        End(Move.CONTINUE),
        onward(b"{"),
        onward(version="no version"),
        End(Move.RELEASE, input=Raw(b"{}")),
        End(Move.COMPLETE, version="2"),
    ],
)
async def test_an_end_that_says_half_of_it_is_refused_and_changes_nothing(engine: Engine, end: End) -> None:
    run = await held(engine)
    assert await engine.results(unit(run.fence, end=end)) == ["refused"]
    assert await engine.execute("SELECT state, generation FROM aiki.runs") == [("running", 0)]


# -- repeats, zombies, crashes


async def test_a_repeat_of_the_end_is_done_until_the_next_claim(engine: Engine) -> None:
    run = await held(engine)
    last = unit(run.fence, 0, entry("a"), end=onward())
    assert await engine.results(last) == ["done"]
    assert await engine.results(last) == ["done"]
    assert await engine.results(unit(run.fence, 0, entry("a"), end=onward(b"{}"))) == ["conflict"]
    await engine.execute("DELETE FROM aiki.journal")  # as the pruner does
    assert await engine.results(last) == ["done"]
    again = await engine.claim_one()
    assert (again.generation, await engine.results(last)) == (1, ["fenced"])
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "continue", "claim"]


async def test_a_repeat_in_the_same_batch_goes_on_once(engine: Engine, rival: Engine) -> None:
    run = await held(engine)
    last = unit(run.fence, 0, entry("a"), end=onward())
    said = await meet(engine, run, lambda: engine.results(last), lambda: rival.results(last))
    assert said == (["done"], ["done"])
    assert (await engine.claim_one()).generation == 1


@pytest.mark.parametrize("is_claimed", [False, True])
async def test_a_zombie_of_the_last_generation_records_nothing(engine: Engine, rival: Engine, is_claimed: bool) -> None:
    """Not even its first unit, which would fit the empty journal of the next one."""
    run = await held(engine)
    await went_on(engine, run) if is_claimed else await engine.results(unit(run.fence, end=onward()))
    for late in (unit(run.fence, 0, entry("a")), unit(run.fence, 0, end=completed())):
        assert set(await rival.results(late)) <= {"fenced", "conflict"}
    assert await engine.execute("SELECT count(*) FROM aiki.journal") == [(0,)]


async def test_a_record_that_waits_for_the_end_of_its_generation_is_not_written_into_the_next(
    engine: Engine, rival: Engine
) -> None:
    run = await held(engine)
    last, late = unit(run.fence, end=onward()), unit(run.fence, 0, entry("late"))
    said = await meet(engine, run, lambda: engine.results(last), lambda: rival.results(late))
    assert said == (["done"], ["fenced"])
    assert await engine.execute("SELECT count(*) FROM aiki.journal") == [(0,)]


async def test_a_commit_that_is_lost_leaves_the_run_in_its_generation(engine: Engine) -> None:
    run = await held(engine)
    last = unit(run.fence, 0, entry("a"), end=onward())
    refuse = "CREATE FUNCTION aiki.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
    await engine.execute(refuse)
    await engine.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON aiki.generations FOR EACH ROW EXECUTE FUNCTION aiki.refuse()"
    )
    with pytest.raises(Exception, match="no"):
        await engine.record(last)
    assert await engine.execute("SELECT state, generation FROM aiki.runs") == [("running", 0)]
    assert await engine.journal(run.fence.run_id) == []
    await engine.execute("DROP TRIGGER refuse ON aiki.generations")
    assert await engine.results(last) == ["done"]


async def test_others_of_a_batch_are_recorded_beside_a_run_that_goes_on_or_may_not(engine: Engine) -> None:
    one, two, lost = await held(engine), await held(engine), await held(engine)
    zombie = structs.replace(lost.fence, epoch=7)
    units = [unit(one.fence, 0, entry("a"), end=onward()), unit(two.fence, 0, entry("b")), unit(zombie, end=onward())]
    assert await engine.results(*units) == ["done", "done", "fenced"]
    generations = await engine.execute("SELECT generation FROM aiki.runs ORDER BY id")
    assert generations == [(1,), (0,), (0,)]


# -- meetings


@pytest.mark.parametrize("event_first", [True, False])
async def test_an_event_that_meets_the_end_of_a_generation_is_there_for_the_next(
    engine: Engine, rival: Engine, event_first: bool
) -> None:
    run = await held(engine)
    acts = [lambda: engine.send(event(run.fence.run_id)), lambda: rival.record(unit(run.fence, end=onward()))]
    await meet(engine, run, *(acts if event_first else reversed(acts)))
    again = await engine.claim_one()
    assert (again.generation, taken(again.arrivals)) == (1, [(1, "event", "approved")])


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_cancel_that_meets_the_end_of_a_generation_is_told_to_the_next(
    engine: Engine, rival: Engine, cancel_first: bool
) -> None:
    run = await held(engine)
    acts = [lambda: cancel(engine, run.fence.run_id), lambda: rival.record(unit(run.fence, end=onward()))]
    await meet(engine, run, *(acts if cancel_first else reversed(acts)))
    again = await engine.claim_one()
    assert (again.generation, taken(again.arrivals)) == (1, [(1, "cancel", "")])


@pytest.mark.parametrize("pause_first", [True, False])
async def test_a_pause_that_meets_the_end_of_a_generation_holds_the_next(
    engine: Engine, rival: Engine, pause_first: bool
) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    acts = [
        lambda: control.pause(engine.pool, engine.namespace, Pause([run_id])),
        lambda: rival.record(unit(run.fence, end=onward())),
    ]
    await meet(engine, run, *(acts if pause_first else reversed(acts)))
    assert await engine.execute("SELECT state, generation, wanted FROM aiki.runs") == [("paused", 1, None)]
    assert (await engine.history(run_id))[2:] in (["told", "continue", "pause"], ["continue", "pause"])
    began = await engine.execute(
        "SELECT h.move FROM aiki.generations g JOIN aiki.run_history h ON h.run_id = g.run_id AND h.seq = g.history_seq"
    )
    assert began == [("continue",)]
    await control.resume(engine.pool, engine.namespace, Resume([run_id]))
    assert (await engine.claim_one()).generation == 1


async def test_a_lost_lease_before_the_end_repeats_the_generation_and_after_it_does_not(engine: Engine) -> None:
    session = await engine.session()
    run = await held(engine, session)
    await engine.record(unit(run.fence, 0, entry("a")))
    await engine.expire(session)
    await engine.rescue()
    again = await engine.claim_one()
    assert (again.generation, again.length) == (0, 1)
    assert await engine.results(unit(run.fence, 1, end=onward())) == ["fenced"]
    session = await engine.session()
    await engine.results(unit(again.fence, 1, end=onward()))
    await engine.expire(session)
    await engine.rescue()
    assert (await engine.claim_one()).generation == 1


async def test_a_wake_that_is_unread_goes_on_too(engine: Engine) -> None:
    run = await held(engine)
    await control.wake(engine.pool, engine.namespace, Wake([run.fence.run_id], id=new_id()))
    again = await went_on(engine, run)
    assert taken(again.arrivals) == [(1, "wake", "")]
