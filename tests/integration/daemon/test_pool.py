"""The pool: what a failure means to the caller, and who goes first."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from aiki.core.errors import Unavailable
from aiki.core.states import Move, State
from aiki.wire.messages import End, ListRuns
from aikid.store import listing, migrate, prepared
from aikid.store.arrays import Ints
from aikid.store.fates import Fate, of_code
from aikid.store.pool import BadData, Collision, Connection, Pool, Priority
from tests.integration.daemon.engine import Engine, completed, entry, running_engine, unit
from tests.servers import Postgres
from tests.unit.daemon.test_fates import KNOWN
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def pool_of(database: str, size: int = 1) -> AsyncIterator[Pool]:
    pool = Pool(database, size=size)
    try:
        yield pool
    finally:
        await pool.aclose()


async def run(engine: Engine, statement: str) -> object:
    async def work(connection: Connection) -> object:
        return (await (await connection.execute(statement.encode())).fetchall())[0][0]

    return await engine.pool.run(work)


@pytest.mark.parametrize("sql", ["SELEC", "SELECT 1 ORDER BY 2", "SELECT 'a' UNION SELECT 1, 2"])
async def test_a_statement_of_ours_that_is_wrong_is_not_taken_for_an_outage(engine: Engine, sql: str) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        await run(engine, sql)


@pytest.mark.parametrize("sql", ["SELECT 1/0", "SELECT 99999::int2"])
async def test_a_refused_value_is_bad_data(engine: Engine, sql: str) -> None:
    with pytest.raises(BadData):
        await run(engine, sql)


FAIL = """
CREATE FUNCTION failing(code text) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = code; END $$
"""
RAISED: dict[Fate, type[Exception]] = {
    Fate.REPEAT: Unavailable,
    Fate.RENEW: Unavailable,
    Fate.WAIT: Unavailable,
    Fate.REFUSE: BadData,
    Fate.BUG: psycopg.Error,
}
TRIES = {Fate.REPEAT: 8, Fate.RENEW: 3}
COLLISION = "23505"
"""Another's key: the fifth time it is one's own."""


@pytest.mark.parametrize("fate", list(Fate))
async def test_each_failure_that_postgres_knows_meets_its_fate(database: str, engine: Engine, fate: Fate) -> None:
    await engine.execute(FAIL)
    tries: list[str] = []

    async def work(connection: Connection) -> None:
        tries.append(code)
        await connection.execute("SELECT failing(%s)", [code])

    codes = [code for code in KNOWN if of_code(code) is fate and code != COLLISION]
    for code in codes:
        # A new pool: after a failure that all connections share, one refuses at once for a moment.
        async with pool_of(database) as pool:
            with pytest.raises(RAISED[fate]) as raised:
                await pool.run(work)
        assert type(raised.value) in (RAISED[fate], psycopg.errors.lookup(code)), code
    assert tries == [code for code in codes for _ in range(TRIES.get(fate, 1))]


async def test_what_collides_with_another_again_and_again_is_told_apart(engine: Engine) -> None:
    """Whoever asked halves it then, so that the calls that do not collide go well."""
    await engine.execute(FAIL)
    tries: list[str] = []

    async def work(connection: Connection) -> None:
        tries.append(COLLISION)
        await connection.execute("SELECT failing(%s)", [COLLISION])

    with pytest.raises(Collision):
        await engine.pool.run(work)
    assert len(tries) == 5


@pytest.mark.parametrize("code", ["40001", "25006", "42501", "22023", "42601"])
async def test_a_cold_statement_obeys_the_same_table(engine: Engine, code: str) -> None:
    await engine.execute(FAIL)
    with pytest.raises(RAISED[of_code(code)]):
        await engine.pool.read(sa.select(sa.func.failing(code)))


async def test_a_lost_connection_is_replaced(engine: Engine) -> None:
    first = await run(engine, "SELECT pg_backend_pid()")
    await engine.execute("SELECT pg_terminate_backend(%s)", first)
    assert await run(engine, "SELECT pg_backend_pid()") != first


async def test_a_connection_whose_transaction_was_undone_prepares_anew(database: str) -> None:
    async def work(connection: Connection) -> list[tuple[Any, ...]]:
        """Have psycopg prepare a statement, too, and undo that; what it forgets then are all."""
        await prepared.rows(connection, "SELECT unnest(%b)", [Ints([1])])
        with suppress(ZeroDivisionError):
            async with prepared.transaction(connection):
                await connection.execute("SELECT 1", prepare=True)
                raise ZeroDivisionError
        return await prepared.rows(connection, "SELECT unnest(%b)", [Ints([2])])

    async with pool_of(database) as pool:
        assert await pool.run(work, repeatable=False) == [(2,)]
        assert await pool.run(work, repeatable=False) == [(2,)]


async def test_an_outcome_that_is_unknown_is_not_repeated_where_that_is_asked(engine: Engine) -> None:
    calls = 0

    async def work(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await engine.pool.run(work, repeatable=False)
    assert calls == 1


async def test_a_server_that_is_away_is_unavailable_at_once() -> None:
    pool = Pool("postgresql://nobody@127.0.0.1:1/none", size=2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(pool.run(lambda _: asyncio.sleep(0)), patient(1))
    await pool.aclose()


async def test_a_lease_goes_before_a_read(database: str) -> None:
    pool = Pool(database, size=1)
    order: list[str] = []
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Connection) -> None:
        held.set()
        await release.wait()

    async def note(name: str, priority: Priority) -> None:
        async def work(_: Connection) -> None:
            order.append(name)

        await pool.at(priority).run(work)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(hold))
        await held.wait()
        tasks.create_task(note("read", Priority.READ))
        tasks.create_task(note("lease", Priority.LEASE))
        await asyncio.sleep(0)
        release.set()
    assert order == ["lease", "read"]
    await pool.aclose()


async def on_all(engine: Engine, statement: str) -> None:
    """Run a statement on every open connection of the pool, in the driver's back: it takes note of nothing."""
    release = asyncio.Event()
    done = 0

    async def work(connection: Connection) -> None:
        nonlocal done
        connection.pgconn.exec_(statement.encode())
        done += 1
        if done == 4:
            release.set()
        await release.wait()

    await asyncio.gather(*(engine.pool.run(work) for _ in range(4)))


async def live_through(engine: Engine) -> None:
    """Let a run live once: most hot statements, and a cold one."""
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    assert run.fence.run_id == run_id
    assert await engine.results(unit(run.fence, 0, entry("a"))) == ["done"]
    assert await engine.results(unit(run.fence, 1, end=End(Move.RELEASE))) == ["done"]
    again = await engine.claim_one()
    assert await engine.results(unit(again.fence, 1, end=completed())) == ["done"]
    assert (await engine.state(run_id)) is State.COMPLETED
    assert len(await listing.list_runs(engine.pool, "default", ListRuns(), limit=1000, limit_bytes=1 << 20)) > 0


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "SET default_transaction_read_only = on", "DISCARD ALL"])
async def test_connections_that_are_not_what_they_were_are_made_anew(engine: Engine, statement: str) -> None:
    """Prepared statements are lost behind a pooler; a server turns read-only in a failover."""
    await live_through(engine)
    await on_all(engine, statement)
    await live_through(engine)


async def test_plans_gone_stale_by_a_migration_are_made_anew(engine: Engine) -> None:
    await live_through(engine)
    await engine.execute("ALTER TABLE aiki.runs ALTER COLUMN workflow TYPE varchar(64), ALTER COLUMN why TYPE varchar")
    await live_through(engine)


async def test_what_was_refused_whole_is_repeated_even_if_its_outcome_must_be_known(engine: Engine) -> None:
    tries = 0

    async def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await connection.execute("SET default_transaction_read_only = on")
        await connection.execute("CREATE TABLE made ()")

    await engine.pool.run(work, repeatable=False)
    assert tries == 2


async def test_of_several_servers_the_one_that_takes_writes_is_used(make_postgres: Callable[[], Postgres]) -> None:
    """The old primary lives on after a failover, read-only: nobody need start anything again."""
    old, new = make_postgres(), make_postgres()
    for server in (old, new):
        migrate.upgrade(server.create_database("aiki"))
    given = [conninfo_to_dict(server.url("aiki")) for server in (old, new)]
    hosts = "&".join(f"{name}={','.join(quote(str(one[name]), safe='') for one in given)}" for name in ("host", "port"))
    async with running_engine(f"postgresql://{given[0]['user']}@/aiki?{hosts}") as engine:
        await live_through(engine)
        old.query("ALTER SYSTEM SET default_transaction_read_only = on")
        old.query("SELECT pg_reload_conf()")
        await wait_until(lambda: old.query("SHOW default_transaction_read_only") == [("on",)])
        await live_through(engine)
    for server in (old, new):
        assert server.query("SELECT state FROM aiki.runs", database="aiki") == [("completed",)]


async def test_a_frozen_postgres_is_answered_in_time_and_used_when_it_is_back(
    make_postgres: Callable[[], Postgres],
) -> None:
    server = make_postgres()
    url = server.create_database("aiki")
    migrate.upgrade(url)
    async with running_engine(url) as engine:
        await live_through(engine)
        server.pause()
        try:
            for _ in range(2):
                hot = [answered_in_time(engine.queued_run()) for _ in range(20)]
                lists = partial(listing.list_runs, engine.pool, "default", ListRuns(), limit=9, limit_bytes=1 << 20)
                cold = [answered_in_time(lists()) for _ in hot]
                await asyncio.gather(*hot, *cold)
        finally:
            server.resume()
        began = time.monotonic()

        async def served() -> Any:
            try:
                return await engine.queued_run()
            except Unavailable:
                return None

        await wait_until(served, what="the next statement")
        assert time.monotonic() - began < patient(2)


async def answered_in_time(call: Awaitable[object]) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await call
    assert time.monotonic() - began < patient(5)
