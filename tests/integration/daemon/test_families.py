"""Children: started by their parent's unit or not at all, and their ends told to it."""

from __future__ import annotations

import pytest
from msgspec import DecodeError, Raw
from msgspec.structs import replace

from aiki.core.errors import PayloadError
from aiki.core.states import Move, State
from aiki.rules.arriving import reached
from aiki.rules.standing import Standing
from aiki.wire.codec import decode, encode, encode_reply
from aiki.wire.limits import UNIT_ITEMS
from aiki.wire.messages import ChildEnd, End, Inbox, Record, Recorded
from aikid.engine import arrivals
from tests.integration.daemon.engine import Engine, entry, event, new_run, parked, running_engine, unit
from tests.integration.daemon.family import CHILD, ends, over, parent_of, start, starting

pytestmark = pytest.mark.anyio


async def test_a_unit_that_starts_children_makes_their_runs(engine: Engine) -> None:
    one, two = start(), start(input=Raw(b'{"n":2}'))
    await engine.queued_run(priority=7)
    run = await engine.claim_one()
    done = await engine.recorded(starting(run, one, two))
    assert done.changes.queued == {(engine.namespace, one.workflow, one.version): 2}
    first, second = await engine.claim(await engine.session())
    assert [(first.fence.run_id, first.input), (second.fence.run_id, second.input)] == [
        (one.id, one.input),
        (two.id, two.input),
    ]
    for child in (first, second):
        assert (child.parent, child.depth, child.priority, child.origin_id) == (
            run.fence.run_id,
            1,
            7,
            child.fence.run_id,
        )
    rows = await engine.execute(
        "SELECT start_id::text, run_id::text, generation, owned FROM aiki.children ORDER BY created_at"
    )
    assert rows == [(one.id, one.id, 0, True), (two.id, two.id, 0, True)]
    assert await engine.execute("SELECT children FROM aiki.runs WHERE id = %s", run.fence.run_id) == [(2,)]
    assert await engine.execute("SELECT is_child, count(*) FROM aiki.listing GROUP BY 1 ORDER BY 1") == [
        (False, 1),
        (True, 2),
    ]


async def test_a_child_is_handed_to_a_worker_that_has_leave_for_it(engine: Engine) -> None:
    await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    engine.park(session, 1)
    child = start()
    done = await engine.recorded(starting(run, child))
    ((handed,),) = [one.runs for one in done.changes.handed]
    assert (handed.fence.run_id, handed.parent, handed.depth) == (child.id, run.fence.run_id, 1)
    assert await engine.state(child.id) is State.RUNNING
    assert not done.changes.queued


async def test_a_unit_that_is_fenced_starts_nothing(engine: Engine) -> None:
    run = await parent_of(engine)
    assert await engine.results(unit(run.fence, 1, entry("a"))) == ["done"]
    child = start()
    assert await engine.results(starting(run, child, base=1)) == ["conflict"]
    assert await engine.execute("SELECT id FROM aiki.runs WHERE id = %s", child.id) == []


async def test_a_unit_that_is_repeated_starts_its_children_once(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    assert await engine.record(starting(run, child)) == [Recorded("done")]
    assert len(await engine.execute("SELECT start_id FROM aiki.children")) == 1


async def test_the_end_of_a_child_reaches_its_parent(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    done = await engine.recorded(over(await engine.claim_one()))
    assert [news for told in done.changes.told.values() for news in told] == [(run.fence.run_id, 1)]
    assert await engine.execute("SELECT kind FROM aiki.errands") == []
    reply = await engine.inbox(run.fence.run_id)
    assert ends(reply.arrivals) == [(child.id, ChildEnd(child.id, State.COMPLETED, output=Raw(b'"done"')))]
    stored = await engine.execute("SELECT value FROM aiki.inbox WHERE run_id = %s", run.fence.run_id)
    assert b"done" not in stored[0][0], "an output is stored once"


async def test_a_parent_that_rests_for_a_child_is_woken_by_its_end(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD))) == ["done"]
    done = await engine.recorded(over(await engine.claim_one()))
    assert sum(done.changes.woken.values()) == 1
    again = await engine.claim_one()
    assert again.fence.run_id == run.fence.run_id
    assert [name for name, _ in ends(again.arrivals)] == [child.id]


async def test_a_parent_that_waits_for_several_children_is_woken_by_the_last(engine: Engine) -> None:
    children = [start(priority=1) for _ in range(3)]
    run = await parent_of(engine, *children)
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD, "event:approved", ends=3))) == ["done"]
    held = await engine.claim(await engine.session())
    woken = [sum((await engine.recorded(over(child))).changes.woken.values()) for child in held]
    assert woken == [0, 0, 1]
    (again,) = await engine.claim(await engine.session())
    assert len(again.arrivals) == 3


async def test_a_parent_that_waits_for_several_children_is_woken_by_anything_else_at_once(engine: Engine) -> None:
    run = await parent_of(engine, start(), start())
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD, "event:approved", ends=2))) == ["done"]
    await engine.send(event(run.fence.run_id))
    assert await engine.state(run.fence.run_id) is State.QUEUED


async def test_ends_that_a_journal_has_taken_are_read_again_with_what_the_children_came_to(engine: Engine) -> None:
    children = [start() for _ in range(3)]
    run = await parent_of(engine, *children)
    for child in await engine.claim(await engine.session()):
        await engine.record(over(child, b'"%s"' % child.fence.run_id.encode()))
    taking = [replace(entry(str(number)), takes=(number,)) for number in (1, 2)]
    assert await engine.results(unit(run.fence, 1, *taking)) == ["done"]
    request = Inbox(run.fence.run_id, ends=True)
    reply = await arrivals.inbox(engine.pool, engine.namespace, request, room=engine.room)
    outputs = [end.output for _, end in ends(reply.arrivals)]
    assert (outputs, reply.more) == ([Raw(b'"%s"' % child.id.encode()) for child in children[:2]], False)
    assert [name for name, _ in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [children[2].id]


async def test_ends_are_read_in_pages_that_fit_a_message(engine: Engine) -> None:
    run = await parent_of(engine, *(start() for _ in range(5)))
    large = b'"%s"' % (b"x" * 200_000)
    for child in await engine.claim(await engine.session()):
        await engine.record(over(child, large))
    for is_taken in (False, True):
        found: list[str] = []
        more, after = True, 0
        while more:
            request = Inbox(run.fence.run_id, after, ends=is_taken)
            reply = await arrivals.inbox(engine.pool, engine.namespace, request, room=engine.room)
            assert len(encode_reply(reply)) <= engine.room
            found += [name for name, _ in ends(reply.arrivals)]
            more, after = reply.more, reply.arrivals[-1].number
        assert len(set(found)) == len(found) == 5
        taking = [replace(entry(str(number)), takes=(number,)) for number in range(1, 6)]
        if not is_taken:
            assert await engine.results(unit(run.fence, 1, *taking)) == ["done"]


async def test_a_claim_brings_as_many_ends_as_fit_it(engine: Engine) -> None:
    run = await parent_of(engine, *(start() for _ in range(4)))
    for child in await engine.claim(await engine.session()):
        await engine.record(over(child, b'"%s"' % (b"x" * 200_000)))
    assert await engine.results(unit(run.fence, 1, end=End(Move.RELEASE))) == ["done"]
    again = await engine.claim_one()
    assert (len(again.arrivals), again.unread, again.news) == (2, 4, 2)
    assert len(encode(again)) <= engine.room


@pytest.mark.parametrize("of", ["another run", "another namespace", "another parent"])
async def test_a_unit_whose_child_has_the_id_of_another_run_is_refused_whole(engine: Engine, of: str) -> None:
    child = start()
    if of == "another run":
        await engine.queued_run(id=child.id, priority=-1)
    elif of == "another parent":
        await parent_of(engine, child, priority=1)
    else:
        async with running_engine(engine.database, "elsewhere") as elsewhere:
            await elsewhere.queued_run(id=child.id)
    await engine.queued_run(priority=9)
    run, other = await engine.claim_one(), start()
    (recorded,) = await engine.record(starting(run, child, other))
    assert (recorded.result, child.id in (recorded.reason or "")) == ("refused", True)
    assert await engine.execute("SELECT id FROM aiki.runs WHERE id = %s", other.id) == []
    assert await engine.journal(run.fence.run_id) == []


async def test_a_bad_unit_costs_none_of_its_batch_their_children(engine: Engine) -> None:
    taken = await engine.queued_run(priority=-1)
    for _ in range(3):
        await engine.queued_run()
    runs = await engine.claim(await engine.session(), limit=3)
    units = [starting(run, start()) for run in runs]
    units[1].starts[0].id = taken
    seen = replace(units[2], end=parked(5, CHILD))
    assert await engine.results(units[0], units[1], seen) == ["done", "refused", "conflict"]
    rows = await engine.execute("SELECT parent_id::text FROM aiki.children")
    assert rows == [(runs[0].fence.run_id,)]


async def test_what_stands_too_deep_starts_no_child(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    await engine.execute("UPDATE aiki.runs SET depth = 100 WHERE id = %s", run.fence.run_id)
    (recorded,) = await engine.record(starting(run, start()))
    assert (recorded.result, "100 ancestors" in (recorded.reason or "")) == ("refused", True)


async def test_what_is_of_one_message_too_many_is_refused_before_it_is_read(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    request = Record([starting(run, *(start() for _ in range(UNIT_ITEMS + 1)))])
    with pytest.raises(DecodeError):
        decode(encode(request), Record)


async def test_children_have_their_options_on_a_route_that_nobody_serves(engine: Engine) -> None:
    hour = 3_600_000_000
    options = {"delay": hour, "timeout": hour, "cancel_timeout": hour, "labels": {"a": "b"}, "priority": 3}
    child = start(workflow="unserved", version="9", **options)
    await engine.queued_run(priority=7)
    run = await engine.claim_one()
    done = await engine.recorded(starting(run, child))
    assert done.changes.due_seconds is not None
    status = await engine.status(child.id)
    assert (status.state, status.priority, status.labels) == (State.SCHEDULED, 3, {"a": "b"})
    rows = await engine.execute("SELECT extract(epoch FROM look_at - now())::int FROM aiki.deadlines")
    assert rows[0][0] in range(7_000, 7_201)
    assert (engine.namespace, "unserved", "9") in engine.met


async def test_an_end_wakes_whom_the_rule_says(engine: Engine) -> None:
    """Every state and wait, with fewer and more ends still missing than the one that comes."""
    waits = [frozenset[str](), frozenset({CHILD}), frozenset({CHILD, "event:approved"}), frozenset({"op"})]
    stands = [State.WAITING, State.SLEEPING, State.RETRYING, State.PAUSED, State.QUEUED, State.RUNNING]
    cases = [
        Standing(state, 1, news=3, waits=words, wakes_at=wakes_at)
        for state in stands
        for words in waits
        for wakes_at in (None, 4, 5)
    ]
    await engine.enqueue(*(new_run() for _ in cases))
    runs = await engine.claim(await engine.session(), limit=len(cases))
    assert set(await engine.results(*(starting(run, start()) for run in runs))) == {"done"}
    children = {child.parent: child for child in await engine.claim(await engine.session(), limit=len(cases))}
    for run, case in zip(runs, cases, strict=True):
        await engine.execute(
            "UPDATE aiki.runs SET state = %s, news_seq = 3, waits = %s, wake_news = %s WHERE id = %s",
            *(case.state, sorted(case.waits) or None, case.wakes_at, run.fence.run_id),
        )
    assert set(await engine.results(*(over(children[run.fence.run_id]) for run in runs))) == {"done"}
    found = [await engine.state(run.fence.run_id) for run in runs]
    assert found == [reached(case, [CHILD]).state for case in cases]


async def test_an_end_that_no_message_can_bring_any_more_is_refused_by_its_name(engine: Engine) -> None:
    """The server took more when the child ended than it does now."""
    run = await parent_of(engine, start())
    await engine.record(over(await engine.claim_one(), b'"%s"' % (b"x" * 200_000)))
    engine.room = 64 * 1024
    with pytest.raises(PayloadError, match="arrival 1 of run"):
        await engine.inbox(run.fence.run_id)
