"""Several daemons, and servers that come and go: P1 and P6 at the level of requests."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats as nats_py
import psycopg
import pytest
from nats.aio.client import Client

from aiki.core.errors import AikiError, Unavailable
from aiki.core.states import Move, State
from aiki.transport import Transport
from aiki.wire import codec, subjects
from aiki.wire.limits import HINTS_PER_ROUTE
from aiki.wire.messages import (
    Claim,
    Claimed,
    CloseSession,
    End,
    Enqueue,
    EnqueueReply,
    History,
    ListRuns,
    OpenSession,
    Record,
    RenewSession,
    Request,
    Route,
    RunNews,
    Status,
    Watch,
)
from aikid.store import migrate
from tests.integration.daemon.engine import completed, entry, new_run, unit
from tests.servers import Aikids, Nats, Postgres
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio
FAILING = """
CREATE FUNCTION failing(code text) RETURNS bool LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = code; END $$
"""
HINTS = subjects.hint("default", "flow", "1.0")
CONSUMER = subjects.consumer("default", "flow", "1.0")


@pytest.fixture
async def transport(nats: Nats) -> AsyncIterator[Transport]:
    connection = await Transport.connect(nats.url)
    yield connection
    await connection.close()


async def open_session(transport: Transport, *, ttl: float = 30.0) -> str:
    session = str(uuid.uuid4())
    assert (await transport.call(OpenSession(session, "worker-1", [Route("flow", "1.0")], ttl))).alive
    return session


async def claim(transport: Transport, session: str, limit: int = 50) -> list[Claimed]:
    return (await transport.call(Claim(session, uuid.uuid4().hex, [("flow", "1.0")], limit), repeat=False)).runs


async def state(transport: Transport, run_id: str) -> State:
    return (await transport.call(Status([run_id]))).runs[0].state


async def pull(url: str, *, seconds: float = 10.0) -> int:
    """Pull hints as a worker does, until some come; return how many."""
    connection = await nats_py.connect(url)

    async def some() -> Any:
        try:
            hints = await connection.jetstream().pull_subscribe_bind(CONSUMER, subjects.HINT_STREAM)
            return await hints.fetch(100, timeout=0.5)
        except (nats_py.errors.Error, nats_py.js.errors.Error, TimeoutError):
            return None  # no stream, no consumer or no hint yet

    try:
        messages: list[Any] = await wait_until(some, seconds, what="a hint")
        for message in messages:
            await message.ack()
        return len(messages)
    finally:
        await connection.close()


async def stream_ready(connection: Client) -> Any:
    """Return once the hint stream is there."""

    async def there() -> Any:
        try:
            return await connection.jsm().stream_info(subjects.HINT_STREAM)
        except nats_py.js.errors.Error:
            return None

    return await wait_until(there, what="the hint stream")


async def test_two_daemons_share_the_work_of_one_worker(start_aikid: Aikids, transport: Transport) -> None:
    start_aikid()
    start_aikid()
    session = await open_session(transport)
    runs = [new_run() for _ in range(200)]
    await asyncio.gather(*(transport.call(Enqueue([run])) for run in runs))
    claimed: list[Claimed] = []
    while len(claimed) < len(runs):
        claimed += await claim(transport, session)
    assert {one.fence.run_id for one in claimed} == {run.id for run in runs}
    units = [unit(one.fence, 0, entry("a"), end=completed()) for one in claimed]
    replies = await asyncio.gather(*(transport.call(Record([one])) for one in units for _ in range(2)))
    assert {one.result for reply in replies for one in reply.units} == {"done"}


async def test_a_watcher_at_one_daemon_hears_what_the_other_commits(start_aikid: Aikids, transport: Transport) -> None:
    start_aikid()
    start_aikid()
    ended: set[str] = set()
    inbox = await transport.inbox(lambda data: ended.update(run.id for run in codec.decoder(RunNews).decode(data).runs))
    session = await open_session(transport)
    runs = [new_run() for _ in range(40)]
    await transport.call(Enqueue(runs))
    # Each request goes to either daemon, so some runs end at the one that does not watch them.
    await asyncio.gather(*(transport.call(Watch([run.id], inbox, 30.0)) for run in runs))
    claimed = await claim(transport, session)
    await asyncio.gather(*(transport.call(Record([unit(one.fence, end=completed())])) for one in claimed))
    await wait_until(lambda: ended == {run.id for run in runs}, what="news of all runs")


async def test_hints_follow_an_enqueue(start_aikid: Aikids, transport: Transport, nats: Nats) -> None:
    start_aikid()
    await transport.call(Enqueue([new_run() for _ in range(7)]))
    assert await pull(nats.url) > 0


async def test_a_short_sleep_takes_as_long_as_it_says(start_aikid: Aikids, transport: Transport) -> None:
    start_aikid()
    session = await open_session(transport)
    run = new_run()
    await transport.call(Enqueue([run]))
    (one,) = await claim(transport, session)
    queued = asyncio.Event()
    inbox = await transport.inbox(lambda data: queued.set() if b'"queued"' in data else None)
    await transport.call(Watch([run.id], inbox, 30.0, ends_only=False))
    reply = await transport.call(RenewSession(session, [one.fence.claim_id]))
    began = time.monotonic()
    await transport.call(Record([unit(one.fence, end=End(Move.SLEEP, due_at=reply.now + 100_000))]))
    await asyncio.wait_for(queued.wait(), patient(5))
    # A poll would take up to a second; the bound leaves room for a busy machine.
    assert time.monotonic() - began < patient(0.6)


async def test_a_dead_workers_run_is_queued_a_lease_and_a_second_later(
    start_aikid: Aikids, transport: Transport
) -> None:
    start_aikid()
    session = await open_session(transport, ttl=1.5)
    run = new_run()
    await transport.call(Enqueue([run]))
    began = time.monotonic()
    await claim(transport, session)

    async def queued() -> Any:
        return await state(transport, run.id) is State.QUEUED

    await wait_until(queued, 5)
    assert 1.3 < time.monotonic() - began < patient(1.5 + 1 + 0.5)
    assert not (await transport.call(RenewSession(session, []))).alive


async def test_a_daemon_that_stops_answers_what_it_accepted(start_aikid: Aikids, transport: Transport) -> None:
    first = start_aikid()
    start_aikid()
    runs = [new_run() for _ in range(300)]
    calls = [asyncio.ensure_future(transport.call(Enqueue([run]))) for run in runs]
    await calls[20]
    assert await asyncio.to_thread(first.terminate) == 0
    replies = await asyncio.gather(*calls)
    assert all(reply.runs[0].created for reply in replies)


async def test_a_daemon_whose_schema_a_newer_one_has_migrated_stops_and_says_so(
    start_aikid: Aikids, transport: Transport, database: str
) -> None:
    daemon = start_aikid()
    await transport.call(Enqueue([new_run()]))
    async with await psycopg.AsyncConnection.connect(database) as newer:
        await newer.execute("UPDATE aiki.alembic_version SET version_num = '9999'")
    assert await asyncio.to_thread(daemon.wait) == 78
    assert "the database's schema is 9999, newer than this aikid knows" in daemon.logged()
    assert "Traceback" not in daemon.logged()


async def test_hints_are_back_soon_after_nats_was_wiped(start_aikid: Aikids, make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    start_aikid(nats_url=nats.url)
    transport = await Transport.connect(nats.url)
    await transport.call(Enqueue([new_run() for _ in range(5)]))
    assert await pull(nats.url) > 0
    began = time.monotonic()
    nats.wipe()

    assert await pull(nats.url) > 0
    assert time.monotonic() - began < patient(5)
    await transport.close()


async def test_everything_works_without_jetstream(start_aikid: Aikids, make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    start_aikid(nats_url=nats.url)
    connection = await nats_py.connect(nats.url)
    assert await stream_ready(connection)
    await connection.jsm().delete_stream(subjects.HINT_STREAM)
    transport = await Transport.connect(nats.url)
    session = await open_session(transport)
    await transport.call(Enqueue([new_run()]))
    (one,) = await claim(transport, session)
    (recorded,) = (await transport.call(Record([unit(one.fence, end=completed())]))).units
    assert recorded.result == "done"
    await transport.close()
    await connection.close()


async def test_a_full_subject_costs_nothing(start_aikid: Aikids, transport: Transport, nats: Nats) -> None:
    start_aikid()
    runs = [new_run() for _ in range(HINTS_PER_ROUTE + 500)]
    for start in range(0, len(runs), 500):
        await transport.call(Enqueue(runs[start : start + 500]))
    session = await open_session(transport)
    found = 0
    while reply := await claim(transport, session, 200):
        found += len(reply)
    assert found == len(runs)


@pytest.mark.parametrize(("sqlstate", "code"), [("22023", "payload"), ("42601", "internal")])
async def test_a_request_that_fails_takes_no_other_of_its_batch_with_it(
    start_aikid: Aikids, transport: Transport, database: str, sqlstate: str, code: str
) -> None:
    """A value that Postgres refuses, and a bug: both fail a statement that carries many requests."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(FAILING)
        connection.execute(f"ALTER TABLE aiki.runs ADD CHECK (priority <> 13 OR failing('{sqlstate}'))".encode())
    start_aikid()
    runs = [new_run(priority=13 if n == 150 else 0) for n in range(300)]
    replies = await asyncio.gather(*(transport.call(Enqueue([run])) for run in runs), return_exceptions=True)
    failed = replies.pop(150)
    assert isinstance(failed, AikiError)
    assert failed.code == code
    assert all(isinstance(reply, EnqueueReply) and reply.runs[0].created for reply in replies)


async def test_postgres_may_restart(start_aikid: Aikids, make_postgres: Callable[[], Postgres], nats: Nats) -> None:
    server = make_postgres()
    url = server.create_database("aiki")
    migrate.upgrade(url)
    start_aikid(database_url=url)
    transport = await Transport.connect(nats.url)
    session = await open_session(transport)
    await transport.call(Enqueue([run := new_run()]))
    (one,) = await claim(transport, session)
    server.kill9()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await transport.call(Record([unit(one.fence, end=completed())]), seconds=1.0)
    assert time.monotonic() - began < patient(3)
    server.start()
    began = time.monotonic()
    (recorded,) = (await transport.call(Record([unit(one.fence, end=completed())]))).units
    assert (recorded.result, await state(transport, run.id)) == ("done", State.COMPLETED)
    assert time.monotonic() - began < patient(2)
    assert (await transport.call(RenewSession(session, []))).alive
    await transport.call(CloseSession(session))
    await transport.close()


async def test_a_frozen_postgres_is_answered_within_five_seconds(
    start_aikid: Aikids, make_postgres: Callable[[], Postgres], nats: Nats
) -> None:
    """Each kind of call, many at once and again later, by a caller who waits for the one reply."""
    server = make_postgres()
    url = server.create_database("aiki")
    migrate.upgrade(url)
    start_aikid(database_url=url)
    transport = await Transport.connect(nats.url)
    session = await open_session(transport)
    await transport.call(Enqueue([run := new_run()]))
    (one,) = await claim(transport, session)
    requests: list[Callable[[], Request[Any]]] = [
        lambda: Enqueue([new_run()]),
        lambda: Record([unit(one.fence, 0, entry("a"))]),
        lambda: RenewSession(session, []),
        lambda: Claim(session, uuid.uuid4().hex, [("flow", "1.0")], 1),
        lambda: Status([run.id]),
        lambda: ListRuns(),
        lambda: History(run.id),
        lambda: OpenSession(str(uuid.uuid4()), "worker-2", [Route("flow", "1.0")], 30.0),
    ]

    async def answered(request: Request[Any]) -> float:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Postgres"):
            await transport.call(request, seconds=patient(30), repeat=False)
        return time.monotonic() - began

    server.pause()
    try:
        for _ in range(2):
            took = await asyncio.gather(*(answered(make()) for make in requests for _ in range(10)))
            assert max(took) < patient(5)
    finally:
        server.resume()
    began = time.monotonic()
    await transport.call(Enqueue([new_run()]))
    assert time.monotonic() - began < patient(2)
    await transport.close()


async def test_a_frozen_nats_costs_no_worker_its_session(
    start_aikid: Aikids, make_nats: Callable[[], Nats], postgres: Postgres, database: str
) -> None:
    """Nobody can renew meanwhile; the daemon, which looks connected, must not take the worker for dead."""
    nats = make_nats()
    start_aikid(nats_url=nats.url)
    transport = await Transport.connect(nats.url)
    session = await open_session(transport, ttl=2.0)
    name = database.rpartition("/")[2].partition("?")[0]

    def expired() -> bool:
        return postgres.query("SELECT expires_at < now() - interval '1 s' FROM aiki.sessions", database=name) == [
            (True,)
        ]

    nats.pause()
    try:
        await wait_until(expired)
    finally:
        nats.resume()
    assert (await transport.call(RenewSession(session, []))).alive
    await transport.close()
