"""No reader reads more than it shows, however many runs have ended: judged by the pages that Postgres looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import AsyncMock, patch

import anyio
import pytest
from msgspec.structs import replace

from aiki.core.states import TERMINAL, Move, State
from aiki.wire.limits import COUNTED_RUNS, MESSAGE_BYTES
from aiki.wire.messages import End, Find, FindReply, History, ListReply, ListRuns, Request, Route, Storage, Summary, Why
from aikid.engine import expiring, journal, reads, sizes, status, why
from aikid.engine.summary import Capped, summary
from aikid.store import draining, listing, minutes
from aikid.store.sizes import LOOKED_INTO, OF_RUNS, PAGES
from bench import finished
from bench.finished import NAMESPACE, OLD, OTHER, ROUTES, VERSION, WORKFLOWS
from tests.integration.daemon.costing import CountingPool
from tests.integration.daemon.engine import Engine, completed, entry, new_run, running_engine, unit
from tests.servers import Postgres

pytestmark = pytest.mark.anyio
RUNS = 200_000
SHOWN = 20
PER_RUN = 12
"""Pages for each run that is found: paths from the root of an index to a row, in each of a few tables."""
PER_LIST = 2_000
"""Pages for what a list shows, whichever filter it goes by."""
PER_ROUTE = 60
"""Pages for the ways to where the answers of one route begin, for all states."""
PARKED = (Move.SLEEP, Move.RETRY, Move.DIVERGE)
LIVE = (State.QUEUED, State.RUNNING, *(State.SLEEPING, State.RETRYING, State.BLOCKED), State.SCHEDULED)


@pytest.fixture(scope="module")
def loaded(postgres: Postgres, template: str) -> Iterator[str]:
    """The address of a database with many runs that have ended, and SHOWN and more in each live state, all older."""
    url = postgres.create_database("crowd", template=template)
    finished.load(url, RUNS)
    anyio.run(_live, url)
    yield url
    postgres.drop_database("crowd")


@pytest.fixture
async def crowd(loaded: str) -> AsyncIterator[Engine]:
    async with running_engine(loaded, NAMESPACE) as engine:
        yield engine


async def _live(url: str) -> None:
    async with running_engine(url, NAMESPACE) as engine:
        await _make_live(engine)


async def _make_live(engine: Engine) -> None:
    session = await engine.session(routes=[Route(name, VERSION) for name in WORKFLOWS])
    routes = [(name, VERSION) for name in WORKFLOWS]
    runs = [new_run(workflow=WORKFLOWS[n % 3], version=VERSION, priority=n % 2) for n in range(4 * 2 * SHOWN)]
    await engine.enqueue(*runs)
    claimed = (await engine.claim_reply(session, limit=200, routes=routes)).runs
    ends = [End(move, due_at=1 << 52) for move in PARKED for _ in range(2 * SHOWN)]
    parked = [unit(run.fence, end=end) for run, end in zip(claimed, ends, strict=False)]
    assert set(await engine.results(*parked)) == {"done"}
    more = [new_run(workflow=WORKFLOWS[n % 3], version=VERSION, priority=n % 2) for n in range(2 * SHOWN)]
    later = [new_run(workflow=WORKFLOWS[n % 3], version=VERSION, delay=1 << 40) for n in range(2 * SHOWN)]
    await engine.enqueue(*more, *later)
    await engine.execute("UPDATE aiki.runs SET created_at = created_at - interval '2 d' WHERE finished_at IS NULL")
    await engine.execute(
        "UPDATE aiki.listing l SET created_at = r.created_at FROM aiki.runs r"
        " WHERE r.id = l.run_id AND r.finished_at IS NULL"
    )


@pytest.fixture
async def pool(crowd: Engine) -> AsyncIterator[CountingPool]:
    made = CountingPool(crowd.database)
    yield made
    await made.aclose()


async def answer(pool: CountingPool, request: Request[Any], namespace: str = NAMESPACE) -> Any:
    pool.buffers = 0
    return await reads.answer(pool, namespace, request, room=MESSAGE_BYTES)


FIRST = "first"
"""Stands for the run that every tenth is a child of."""
LISTS = {
    "all": ListRuns(),
    "completed": ListRuns(states=[State.COMPLETED]),
    "cancelled": ListRuns(states=[State.CANCELLED]),
    "failed": ListRuns(states=[State.FAILED]),
    **{state.value: ListRuns(states=[state]) for state in LIVE},
    "ended or not": ListRuns(states=[State.CANCELLED, State.FAILED, State.RUNNING]),
    "every state": ListRuns(states=list(State)),
    "workflow": ListRuns(workflow=WORKFLOWS[1]),
    "workflow and failed": ListRuns(workflow=WORKFLOWS[1], states=[State.FAILED]),
    "common label": ListRuns(labels={"env": "prod"}),
    "rare label": ListRuns(labels={"customer": "c10"}),
    "both labels": ListRuns(labels={"env": "prod", "customer": "c10"}),
    "label and state": ListRuns(labels={"customer": "c10"}, states=[State.COMPLETED]),
    "since": ListRuns(since=1),
    "since and failed": ListRuns(since=1, states=[State.FAILED]),
    "since, with a label": ListRuns(since=1, labels={"customer": "c10"}),
    "before": ListRuns(before=1 << 52),
    "roots": ListRuns(roots=True),
    "roots with a label": ListRuns(roots=True, labels={"customer": "c10"}),
    "roots that failed": ListRuns(roots=True, states=[State.FAILED]),
    "children": ListRuns(parent=FIRST),
    "completed children": ListRuns(parent=FIRST, states=[State.COMPLETED]),
    "version": ListRuns(workflow=OLD[0], version=OLD[1]),
    "version and failed": ListRuns(workflow=OLD[0], version=OLD[1], states=[State.FAILED]),
    "beginning of keys": ListRuns(key_prefix="order-"),
    "longer beginning": ListRuns(key_prefix="order-0001"),
    "beginning of keys of a workflow": ListRuns(key_prefix="order-", workflow=WORKFLOWS[1]),
    "beginning of keys of a version": ListRuns(key_prefix="order-", workflow=OLD[0], version=VERSION),
    "beginning of keys, completed": ListRuns(key_prefix="order-", states=[State.COMPLETED]),
    "error": ListRuns(error="TimeoutError"),
    "error of a workflow": ListRuns(error="TimeoutError", workflow=WORKFLOWS[1]),
    "priority": ListRuns(priority=0),
}


async def test_the_run_of_a_key_and_the_counts_of_keys_cost_no_more_than_they_tell(pool: CountingPool) -> None:
    key = finished.KEY.format(RUNS - 1 - RUNS % 2)
    for workflow in (None, WORKFLOWS[(RUNS - 1) % 3]):
        for counts in (False, True):
            reply: ListReply = await answer(pool, ListRuns(key=key, workflow=workflow, counts=counts), OTHER)
            assert reply.count + len(reply.runs) == 1
            assert pool.buffers <= PER_ROUTE + PER_RUN * len(WORKFLOWS), pool.plans[-1]
    reply = await answer(pool, ListRuns(key_prefix="order-", counts=True))
    assert reply.count == COUNTED_RUNS
    assert pool.buffers <= PER_RUN * COUNTED_RUNS, pool.plans[-1]
    assert (await answer(pool, ListRuns(key_prefix="order-x", counts=True))).count == 0
    assert pool.buffers <= PER_ROUTE, pool.plans[-1]


REFINED = {
    "no such error": ListRuns(error="KeyError"),
    "no such priority": ListRuns(priority=7),
    "nobody's": ListRuns(worker="nobody"),
    "no such key of the children": ListRuns(parent=FIRST, key_prefix="order-x"),
}


async def test_a_page_looks_at_so_many_runs_for_what_no_index_says_and_the_next_one_goes_on(
    pool: CountingPool, crowd: Engine
) -> None:
    for name, request in REFINED.items():
        parent = await _first(crowd) if request.parent else None
        reply: ListReply = await answer(pool, replace(request, limit=SHOWN, parent=parent))
        assert (reply.runs, reply.cursor is None) == ([], name == "no such error"), name
        assert pool.buffers <= PER_RUN * (listing.LOOKED_AT + 4 * SHOWN), (name, pool.plans[-1])


async def _first(engine: Engine) -> str:
    """Return the run that every tenth is a child of."""
    ((run_id,),) = await engine.execute("SELECT run_id::text FROM aiki.ended ORDER BY created_at LIMIT 1")
    return str(run_id)


async def test_a_page_of_a_list_costs_what_it_shows(pool: CountingPool, crowd: Engine) -> None:
    most = PER_ROUTE * len(ROUTES) + PER_RUN * SHOWN * len(ROUTES)
    assert most <= PER_LIST
    for name, request in LISTS.items():
        cursor = None
        for page in range(2):
            parent = await _first(crowd) if request.parent else None
            asked = replace(request, limit=SHOWN, cursor=cursor, parent=parent)
            reply: ListReply = await answer(pool, asked)
            assert len(reply.runs) == SHOWN, name
            assert pool.buffers <= most, (name, page, pool.plans[-1])
            cursor = reply.cursor


@pytest.mark.parametrize("namespace", [NAMESPACE, OTHER])
async def test_an_id_is_found_by_either_end_where_it_stands(pool: CountingPool, crowd: Engine, namespace: str) -> None:
    query = "SELECT run_id::text FROM aiki.ended WHERE namespace = %s ORDER BY created_at OFFSET %s LIMIT 1"
    for offset in (0, 9_000):
        ((run_id,),) = await crowd.execute(query, namespace, offset)
        for part in (run_id, run_id[:18], run_id[-8:], run_id[-12:]):
            found: FindReply = await answer(pool, Find(part), namespace)
            assert found.ids == [run_id]
            assert pool.buffers <= PER_ROUTE, (part, pool.plans)
        assert (await answer(pool, Find(run_id[-12:]), "nobody")).ids == []
    assert (await answer(pool, Find("0" * 8), namespace)).ids == []
    assert pool.buffers <= PER_ROUTE


async def test_a_summary_counts_live_runs_and_no_more_ended_ones_than_it_tells(pool: CountingPool) -> None:
    reply = await answer(pool, Summary())
    counts = {(row.workflow, row.state): (row.runs, row.capped) for row in reply.rows}
    assert counts[WORKFLOWS[0], State.COMPLETED] == (COUNTED_RUNS, True)
    assert counts[WORKFLOWS[0], State.CANCELLED] == (66, False)
    for state in LIVE:
        assert sum(runs for (_, of), (runs, _) in counts.items() if of is state) == 2 * SHOWN
    capped = sum(row.capped for row in reply.rows)
    # A page of the index holds a hundred of them; of those that live there are a few, each at a place of its own.
    assert pool.buffers <= PER_ROUTE * len(WORKFLOWS) + capped * COUNTED_RUNS / 50 + 4 * len(LIVE) * 2 * SHOWN


async def test_a_summary_that_is_asked_for_again_costs_as_much_as_one_of_no_ended_runs(pool: CountingPool) -> None:
    capped = Capped()
    pages = []
    for _ in range(2):
        pool.buffers = 0
        reply = await summary(pool, NAMESPACE, Summary(), MESSAGE_BYTES, capped=capped)
        pages.append(pool.buffers)
    assert any(row.capped for row in reply.rows)
    ended = sum(row.runs for row in reply.rows if row.state in TERMINAL and not row.capped)
    assert pages[1] <= 2 * PER_ROUTE * len(WORKFLOWS) + ended / 50 + 4 * len(LIVE) * 2 * SHOWN, pages
    assert pages[1] < pages[0]


async def test_what_is_done_lately_costs_the_parts_that_tell_of_it(pool: CountingPool, crowd: Engine) -> None:
    """However many minutes there are before, and whatever others do."""
    await crowd.execute(
        "INSERT INTO aiki.minutes (namespace, workflow, minute, version, writer, part, enqueued, completed, failed,"
        " cancelled, buckets, bucket_runs, written_at) SELECT n.name, w.name, date_trunc('minute', at), %s,"
        " gen_random_uuid(), 1, 1, 1, 0, 0, '{80}', '{1}', at"
        " FROM unnest(%s::text[]) AS n(name), unnest(%s::text[]) AS w(name),"
        " generate_series(aiki.now() - interval '3 h', aiki.now(), interval '5 s') AS at",
        VERSION,
        [NAMESPACE, "busy"],
        list(WORKFLOWS),
    )
    pool.buffers = 0
    rates = await minutes.rates(pool, NAMESPACE, WORKFLOWS)
    assert [rate.workflow for rate in rates] == sorted(WORKFLOWS)
    assert all(58 <= rate.enqueued <= 61 for rate in rates)
    # Ten minutes are looked at, of which each 5 s has a row of a workflow; on a page of the index there are many.
    assert pool.buffers <= PER_ROUTE * len(WORKFLOWS) + 120 * len(WORKFLOWS), pool.plans[-1]


async def test_a_story_costs_what_it_shows_however_many_have_ended(pool: CountingPool, database: str) -> None:
    async with running_engine(database, NAMESPACE) as engine:
        few = CountingPool(database)
        run_id = await engine.queued_run()
        await engine.record(unit((await engine.claim_one()).fence, 0, entry("a"), entry("b"), end=completed()))
        assert len((await journal.story(few, NAMESPACE, History(run_id), room=MESSAGE_BYTES)).items) == 5
        await few.aclose()
    listed: ListReply = await answer(pool, ListRuns(states=[State.COMPLETED], limit=1))
    pool.buffers, pool.plans = 0, []
    told = await journal.story(pool, NAMESPACE, History(listed.runs[0].id), room=MESSAGE_BYTES)
    assert {item.move for item in told.items} >= {"enqueued", "entry"}
    assert pool.buffers <= few.buffers + 4 * PER_RUN, pool.plans


async def test_what_is_in_flight_of_versions_is_counted_where_it_stands(pool: CountingPool) -> None:
    pool.buffers = 0
    told = await draining.standings(pool, NAMESPACE, [(name, VERSION) for name in WORKFLOWS])
    assert len(told) == len(WORKFLOWS)
    for state in LIVE:
        assert sum(one.runs.get(state, 0) for one in told.values()) == 2 * SHOWN
    assert all(one.last_start is not None for one in told.values())
    assert pool.buffers <= 2 * PER_ROUTE * len(told) + 4 * len(LIVE) * 2 * SHOWN, pool.plans


async def test_a_status_costs_the_same_whether_many_have_ended_or_none(pool: CountingPool, database: str) -> None:
    async with running_engine(database, NAMESPACE) as engine:
        few = CountingPool(database)
        wanted = [(NAMESPACE, await engine.queued_run()) for _ in range(SHOWN)]
        assert len(await status.statuses(few, wanted)) == SHOWN
        await few.aclose()
    listed: ListReply = await answer(pool, ListRuns(states=[State.COMPLETED], limit=SHOWN))
    pool.buffers = 0
    found = await status.statuses(pool, [(NAMESPACE, run.id) for run in listed.runs])
    assert {run.tasks for run in found.values()} == {1}
    # One level more in each of the two trees, and the entry.
    assert pool.buffers <= few.buffers + 4 * SHOWN


async def test_what_runs_take_up_is_told_by_a_sample_of_them(pool: CountingPool) -> None:
    """However many there are: so many pages of runs, and of some of these runs what else they have."""
    pool.buffers = 0
    with patch.object(expiring, "told", AsyncMock(return_value={})):  # a row or two by key for each route
        reply = await sizes.storage(pool, NAMESPACE, Storage(), room=MESSAGE_BYTES)
    assert pool.buffers <= 2 * PAGES + PER_RUN * LOOKED_INTO * len(OF_RUNS) // 2 + 500, pool.plans
    assert not reply.is_whole
    assert reply.sampled < RUNS / 10
    assert 0.9 * RUNS < reply.population < 1.1 * RUNS
    assert {one.workflow for one in reply.workflows} == set(WORKFLOWS)
    assert 0.8 * RUNS * 0.9 < sum(one.runs for one in reply.workflows) < 1.1 * RUNS
    assert 0.95 <= sum(one.ended for one in reply.workflows) / sum(one.runs for one in reply.workflows) <= 1
    whole = sum(one.bytes + one.index_bytes for one in reply.tables)
    assert 0.7 * whole < sum(one.bytes for one in reply.workflows) <= whole
    assert reply.tables[0].name == "runs"


WHY_PAGES = 1_500
"""For why one run does not move: of a queued one mostly for those of its route that have ended lately."""


@pytest.mark.parametrize("state", LIVE)
async def test_why_a_run_does_not_move_costs_no_more_however_many_have_ended(
    pool: CountingPool, crowd: Engine, state: State
) -> None:
    rows = await crowd.execute("SELECT id::text FROM aiki.runs WHERE state = %s LIMIT 1", state)
    pool.buffers, pool.plans = 0, []
    (one,) = (await why.answer(pool, NAMESPACE, Why([rows[0][0]]), room=MESSAGE_BYTES)).runs
    assert one.reasons
    assert pool.buffers <= WHY_PAGES, (state, one)
