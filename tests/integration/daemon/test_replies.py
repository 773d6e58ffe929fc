"""Replies of a server that takes 64 KiB: each fits, and page after page everything is told."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import PayloadError
from aiki.core.states import Move, State
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Attempt,
    End,
    History,
    ListReply,
    ListRuns,
    OpenSession,
    Page,
    Route,
    Summary,
    SummaryReply,
    Workflows,
    WorkflowsReply,
)
from aiki.wire.packing import MAX_PAYLOAD_LEAST, payload_bytes
from aikid.engine import claims, journal, reads, sessions, status
from tests.integration.daemon.engine import Engine, completed, entry, new_id, new_run, unit

pytestmark = pytest.mark.anyio

ROOM = MAX_PAYLOAD_LEAST
LARGEST = payload_bytes(ROOM)


def payload(size: int) -> Raw:
    return Raw(b'"' + b"x" * (size - 2) + b'"')


def schema(size: int) -> Raw:
    return Raw(b'{"title":"' + b"x" * (size - 12) + b'"}')


@pytest.fixture
def engine(engine: Engine) -> Engine:
    engine.room = ROOM
    return engine


async def read(engine: Engine, request: Any) -> Any:
    reply = await reads.answer(engine.pool, engine.namespace, request, room=ROOM)
    assert len(codec.encode_reply(reply)) <= ROOM
    return reply


async def stored_before(engine: Engine, **fields: Any) -> str:
    """Enqueue a run while the server took more."""
    engine.room = 1024 * 1024
    try:
        return await engine.queued_run(**fields)
    finally:
        engine.room = ROOM


# -- claims


async def test_a_run_that_no_claim_could_bring_to_a_worker_is_refused(engine: Engine) -> None:
    at_limit, over = await engine.enqueue(
        new_run(input=payload(LARGEST)), beyond := new_run(input=payload(LARGEST + 1))
    )
    assert at_limit.error is None
    assert over.error is not None
    assert (over.id, over.error.code, "max_payload of 65,536" in over.error.message) == (beyond.id, "payload", True)


async def test_a_claimed_run_that_fits_no_reply_is_blocked_and_the_others_come(engine: Engine) -> None:
    large = await stored_before(engine, input=payload(100_000), priority=9)
    small = await engine.queued_run()
    session = await engine.session()
    reply = await engine.claim_reply(session)
    assert [run.fence.run_id for run in reply.runs] == [large]
    light, blocked = await claims.lighten(engine.pool, engine.namespace, reply, room=ROOM)
    assert (light.runs, light.more, blocked) == ([], True, [large])
    known = await engine.status(large)
    assert known.state is State.BLOCKED
    assert "max_payload of 65,536" in (known.why or "")
    assert await engine.history(large) == ["enqueued", "claim", "oversize"]
    assert [run.fence.run_id for run in await engine.claim(session)] == [small]


async def test_tries_that_do_not_fit_a_claim_are_read_in_pages(engine: Engine) -> None:
    """A run whose thousand tasks all wait for their next try must come to a worker, too."""
    await engine.queued_run()
    run = await engine.claim_one()
    failures = [Attempt(f"task:{n:0>64}:0:0", 1, Raw(b'{"type":"E","message":"m"}'), 77) for n in range(1000)]
    await engine.record(unit(run.fence, attempts=failures, end=End(Move.RELEASE)))
    reply = await engine.claim_reply(await engine.session())
    assert len(codec.encode_reply(reply)) > ROOM
    light, _ = await claims.lighten(engine.pool, engine.namespace, reply, room=ROOM)
    assert len(codec.encode_reply(light)) <= ROOM
    (claimed,) = light.runs
    assert (claimed.attempts, claimed.tries) == ([], 1000)
    found: list[Attempt] = []
    while len(found) < 1000:
        after = found[-1].key if found else ""
        page = await journal.page(engine.pool, engine.namespace, Page(run.fence.run_id, tried_after=after), room=ROOM)
        assert len(codec.encode_reply(page)) <= ROOM
        assert page.attempts
        found += page.attempts
    assert sorted(one.key for one in found) == sorted(one.key for one in failures)
    assert {(one.attempt, one.next_at) for one in found} == {(1, 77)}


async def test_a_journal_is_read_in_pages_and_an_entry_that_fits_none_is_told(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, 0, *[entry(f"t{n}", payload(20_000)) for n in range(7)]))
    engine.room = 1024 * 1024
    await engine.record(unit(run.fence, 7, entry("large", payload(100_000))))
    after = 0
    while after < 7:
        page = await journal.page(engine.pool, engine.namespace, Page(run.fence.run_id, after), room=ROOM)
        assert len(codec.encode_reply(page)) <= ROOM
        after += len(page.entries)
    with pytest.raises(PayloadError, match=r"entry 8 .* has 100,000 bytes, more than the NATS server's max_payload"):
        await journal.page(engine.pool, engine.namespace, Page(run.fence.run_id, 7), room=ROOM)


async def test_an_outcome_that_no_reader_could_be_brought_is_refused(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    large = [
        unit(run.fence, 0, entry("a", payload(LARGEST + 1))),
        unit(run.fence, attempts=[Attempt("task:a:0:0", 1, payload(LARGEST + 1))]),
        unit(run.fence, end=completed(bytes(payload(LARGEST + 1)))),
    ]
    for one in large:
        (recorded,) = await engine.record(one)
        assert (recorded.result, "max_payload of 65,536" in (recorded.reason or "")) == ("refused", True)
    assert await engine.results(unit(run.fence, 0, entry("a", payload(LARGEST)))) == ["done"]
    assert await engine.results(unit(run.fence, 1, end=completed(bytes(payload(LARGEST))))) == ["done"]


# -- readers


async def test_statuses_come_in_as_many_replies_as_it_takes(engine: Engine) -> None:
    for _ in range(4):
        await engine.queued_run()
    runs = await engine.claim(await engine.session())
    await engine.record(*(unit(run.fence, end=completed(bytes(payload(LARGEST)))) for run in runs))
    ended = [run.fence.run_id for run in runs]
    unknown = [new_id() for _ in range(900)]
    ids = [*unknown[:450], *ended[:2], *unknown[450:], *ended[2:], ended[0]]
    left, told = ids, []
    while left:
        found = await status.statuses(engine.pool, [(engine.namespace, i) for i in left])
        reply = status.reply(left, {i: run for (_, i), run in found.items()}, room=ROOM)
        assert len(codec.encode_reply(reply)) <= ROOM
        assert reply.rest < len(left), "nothing was told"
        told += [run.id for run in reply.runs]
        left = left[len(left) - reply.rest :]
    assert set(told) == set(ended)


async def test_what_fits_no_reply_is_told_without_its_value(engine: Engine) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    engine.room = 1024 * 1024
    await engine.record(unit(run.fence, 0, entry("a", payload(90_000)), end=completed(bytes(payload(100_000)))))
    reply = status.reply([run_id], {run_id: await engine.status(run_id)}, room=ROOM)
    (told,) = reply.runs
    assert (told.state, bytes(told.output), reply.rest) == (State.COMPLETED, b"", 0)
    assert told.why == "its result has 100,000 bytes, more than the NATS server's max_payload of 65,536"
    story = await journal.story(engine.pool, engine.namespace, History(run_id), room=ROOM)
    (item,) = [item for item in story.items if item.move == "entry"]
    assert (item.key, item.ok, bytes(item.value)) == ("task:a:0:0", True, b"")
    assert item.reason == "its value has 90,000 bytes, more than the NATS server's max_payload of 65,536"


async def test_lists_and_stories_are_paged(engine: Engine) -> None:
    labels = {f"label-{n}": "x" * 256 for n in range(20)}
    ids = [await engine.queued_run(labels=labels) for _ in range(9)]
    listed: list[str] = []
    page = ListReply([])
    while len(listed) < 9:
        page = await read(engine, ListRuns(cursor=page.cursor))
        assert len(page.runs) < 9
        listed += [run.id for run in page.runs]
    assert (listed, page.cursor) == (ids[::-1], None)
    run = await engine.claim_one()
    for n in range(6):
        await engine.record(unit(run.fence, n, entry(f"t{n}", payload(LARGEST))))
    story = await journal.story(engine.pool, engine.namespace, History(run.fence.run_id), room=ROOM)
    moves = [item.move for item in story.items]
    while story.cursor is not None:
        request = History(run.fence.run_id, story.cursor)
        story = await journal.story(engine.pool, engine.namespace, request, room=ROOM)
        moves += [item.move for item in story.items]
    assert sorted(moves) == ["claim", "enqueued", *["entry"] * 6]


async def test_counts_and_routes_are_paged(engine: Engine) -> None:
    """As many routes as a worker may serve, some with large schemas."""
    names = [f"flow-{n:04}" for n in range(600)]
    routes = [Route(name, "1", schema(LARGEST) if n < 5 else Raw(b"{}")) for n, name in enumerate(names)]
    request = OpenSession(str(uuid.uuid4()), "worker", routes)
    await sessions.open_session(engine.pool, engine.routes, engine.namespace, request, room=MESSAGE_BYTES)
    await engine.enqueue(*(new_run(workflow=name, version="1") for name in names))
    counts = SummaryReply([], 0, "0")
    counted: list[str] = []
    while counts.cursor is not None:
        counts = await read(engine, Summary(counts.cursor))
        counted += [row.workflow for row in counts.rows]
        assert counts.workers == 1
    assert counted == names
    known = WorkflowsReply([], "0")
    found: list[Route] = []
    while known.cursor is not None:
        known = await read(engine, Workflows(cursor=known.cursor))
        found += known.routes
    assert [route.workflow for route in found] == names
    assert [len(route.parameters) for route in found[:6]] == [LARGEST] * 5 + [2]


async def test_a_schema_that_fits_no_reply_is_left_out(engine: Engine) -> None:
    request = OpenSession(str(uuid.uuid4()), "worker", [Route("flow", "1", schema(100_000)), Route("other", "1")])
    await sessions.open_session(engine.pool, engine.routes, engine.namespace, request, room=MESSAGE_BYTES)
    known: WorkflowsReply = await read(engine, Workflows())
    assert [(route.workflow, bytes(route.parameters)) for route in known.routes] == [("flow", b""), ("other", b"")]
