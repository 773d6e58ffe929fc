"""The pool: what a failure means to the caller, and who goes first."""

import asyncio

import psycopg
import pytest

from aiki.core.errors import Unavailable
from aikid.store.pool import BadData, Connection, Pool, Priority
from tests.integration.daemon.engine import Engine
from tests.waiting import patient

pytestmark = pytest.mark.anyio


async def run(engine: Engine, statement: str) -> object:
    async def work(connection: Connection) -> object:
        return (await (await connection.execute(statement.encode())).fetchall())[0][0]

    return await engine.pool.run(work, priority=Priority.READ)


@pytest.mark.parametrize("sql", ["SELECT nonsense", "SELEC", "SELECT * FROM aiki.none"])
async def test_a_statement_of_ours_that_is_wrong_is_not_taken_for_an_outage(engine: Engine, sql: str) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        await run(engine, sql)


@pytest.mark.parametrize("sql", ["SELECT 1/0", "SELECT 99999::int2", "SELECT chr(0)"])
async def test_a_refused_value_is_bad_data(engine: Engine, sql: str) -> None:
    with pytest.raises(BadData):
        await run(engine, sql)


async def test_a_lost_connection_is_replaced(engine: Engine) -> None:
    first = await run(engine, "SELECT pg_backend_pid()")
    await engine.execute("SELECT pg_terminate_backend(%s)", first)
    assert await run(engine, "SELECT pg_backend_pid()") != first


async def test_an_outcome_that_is_unknown_is_not_repeated_where_that_is_asked(engine: Engine) -> None:
    calls = 0

    async def work(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await engine.pool.run(work, priority=Priority.CLAIM, repeatable=False)
    assert calls == 1


async def test_a_server_that_is_away_is_unavailable_at_once() -> None:
    pool = Pool("postgresql://nobody@127.0.0.1:1/none", size=2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(pool.run(lambda _: asyncio.sleep(0), priority=Priority.READ), patient(1))
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

        await pool.run(work, priority=priority)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(hold, priority=Priority.READ))
        await held.wait()
        tasks.create_task(note("read", Priority.READ))
        tasks.create_task(note("lease", Priority.LEASE))
        await asyncio.sleep(0)
        release.set()
    assert order == ["lease", "read"]
    await pool.aclose()
