"""Children: started by their parent's unit or not at all, and their ends told to it."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import Move, State
from aiki.wire.codec import encode, encode_reply
from aiki.wire.messages import ChildEnd, End, Inbox, Recorded
from aikid.engine import arrivals
from tests.integration.daemon.engine import Engine, entry, event, parked, unit
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
