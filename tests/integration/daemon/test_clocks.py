"""Every statement takes its time from `aiki.now()` and `aiki.clock()`: a database in which these say another time."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

import aikid
from aiki.core.states import Move, State
from aiki.wire.messages import End
from aikid.store import migrate, timers
from tests.integration.daemon.engine import Engine, completed, unit

pytestmark = pytest.mark.anyio
YEAR_2100 = 4_102_444_800_000_000
SECOND = 1_000_000


@pytest.fixture
def set_clock(database: str) -> None:
    """Let the database's clock stand at the moment that the one row of `public.moment` holds."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.moment AS SELECT 'epoch'::timestamptz AS at")
        for name, volatility in (("now", "STABLE"), ("clock", "VOLATILE")):
            connection.execute(
                f"CREATE OR REPLACE FUNCTION aiki.{name}() RETURNS timestamptz LANGUAGE sql {volatility}"
                " AS 'SELECT at FROM public.moment'".encode()
            )


async def stand_at(engine: Engine, microseconds: int) -> None:
    await engine.execute(
        "UPDATE public.moment SET at = 'epoch'::timestamptz + %s * interval '1 microsecond'", microseconds
    )


@pytest.mark.usefixtures("set_clock")
async def test_a_run_is_due_when_the_databases_clock_says_so(engine: Engine) -> None:
    await stand_at(engine, YEAR_2100)
    run_id = await engine.queued_run(delay=SECOND)
    assert await engine.state(run_id) is State.SCHEDULED
    await stand_at(engine, YEAR_2100 + SECOND - 1)
    assert await engine.wake() == []
    assert await engine.pool.run(timers.seconds_to_next) == pytest.approx(0.000001)
    await stand_at(engine, YEAR_2100 + SECOND)
    assert await engine.wake() == [run_id]


@pytest.mark.usefixtures("set_clock")
async def test_all_that_a_run_leaves_is_of_the_databases_clock(engine: Engine) -> None:
    await stand_at(engine, YEAR_2100)
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    await stand_at(engine, YEAR_2100 + SECOND)
    again = await engine.claim_one()
    await engine.record(unit(again.fence, end=completed()))
    status = await engine.status(run_id)
    assert (status.started_at, status.finished_at) == (YEAR_2100, YEAR_2100 + SECOND)
    assert 0 <= status.created_at - YEAR_2100 < 1_000, "runs of one commit are a microsecond apart"
    told = await engine.execute("SELECT DISTINCT extract(year FROM at AT TIME ZONE 'UTC')::int FROM aiki.run_history")
    assert told == [(2100,)]


@pytest.mark.usefixtures("set_clock")
async def test_a_lease_runs_out_when_the_databases_clock_says_so(engine: Engine) -> None:
    await stand_at(engine, YEAR_2100)
    session = await engine.session(ttl=30.0)
    await engine.queued_run()
    run = await engine.claim_one(session)
    await engine.sweep()
    await stand_at(engine, YEAR_2100 + 29 * SECOND)
    await engine.execute("UPDATE aiki.sweeps SET swept_at = aiki.now()")
    assert await engine.rescue() == []
    await stand_at(engine, YEAR_2100 + 30 * SECOND)
    assert [one.id for one in await engine.rescue()] == [run.fence.run_id]


def test_no_statement_asks_another_clock() -> None:
    """The functions themselves do, and each release's migration as it was."""
    other = re.compile(r"(?<![\w.])(now\(\)|\w*clock_timestamp|current_timestamp|transaction_timestamp)|func\.now")
    folder = Path(aikid.__file__).parent / "store"
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(folder.glob("*.py"))
        for line in path.read_text().splitlines()
        if other.search(line) and not line.startswith(("async def now()", '"""'))
    ]
    assert [line for line in found if "RETURN pg_catalog" not in line] == []


def test_both_clocks_are_put_into_the_statement_itself(database: str) -> None:
    migrate.check(database)
    with psycopg.connect(database) as connection:
        plan = connection.execute("EXPLAIN (VERBOSE, COSTS OFF) SELECT aiki.now(), aiki.clock()").fetchall()
    assert "Output: now(), clock_timestamp()" in " ".join(line for (line,) in plan)
