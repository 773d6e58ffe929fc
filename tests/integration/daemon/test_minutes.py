"""What daemons write of each minute adds up to what was done, and costs no statement of those who did it."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Connection

from aiki.core.errors import Unavailable
from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.rules.histograms import ERROR, quantile
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Cancel,
    Claim,
    Claimed,
    ClaimReply,
    End,
    Enqueue,
    NewRun,
    OpenSession,
    PutSchedule,
    Record,
    Request,
    Retry,
    Route,
    Summary,
    SummaryReply,
    TriggerSchedule,
    Unit,
)
from aikid.app import App
from aikid.engine import record
from aikid.engine.changes import Changes
from aikid.engine.summary import summary
from aikid.loops.minutes import Minutes
from aikid.store import minutes
from aikid.store.minutes import MINUTE, Cell
from aikid.store.pool import BadData
from aikid.store.pool import Connection as Postgres
from aikid.store.pruning import BATCH, KEPT_MINUTES_SECONDS, Kind, prune
from aikid.tell.tally import Tally
from tests.integration.daemon.asking import ask_together, running_app
from tests.integration.daemon.costing import CountedPool
from tests.integration.daemon.engine import VERSION, Engine, completed, new_id, new_run, op, unit
from tests.integration.daemon.family import start, starting
from tests.integration.daemon.firing import Standing, declared
from tests.integration.daemon.retrying import failed
from tests.servers import Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio
NAMES = ("flow", "other", "third")
RUNS = 1_000
DONE = """
SELECT workflow, version, sum(enqueued)::int, sum(completed)::int, sum(failed)::int, sum(cancelled)::int,
  sum((SELECT sum(n) FROM unnest(bucket_runs) AS n))::int
FROM aiki.minutes GROUP BY 1, 2 ORDER BY 1, 2
"""
TRUE = """
SELECT workflow, version, count(*)::int, count(*) FILTER (WHERE state = 'completed')::int,
  count(*) FILTER (WHERE state = 'failed')::int, count(*) FILTER (WHERE state = 'cancelled')::int,
  count(finished_at)::int
FROM aiki.runs GROUP BY 1, 2 ORDER BY 1, 2
"""
DONE_BY_MINUTE = """
SELECT minute, sum(completed + failed + cancelled)::int FROM aiki.minutes GROUP BY 1
HAVING sum(completed + failed + cancelled) > 0 ORDER BY 1
"""
TRUE_BY_MINUTE = """
SELECT date_trunc('minute', finished_at), count(*)::int FROM aiki.runs WHERE finished_at IS NOT NULL
GROUP BY 1 ORDER BY 1
"""


class Asking:
    """Two daemons, of which each request asks the other one than the last."""

    def __init__(self, apps: Sequence[App], bus: Connection) -> None:
        self._apps = itertools.cycle(apps)
        self._bus = bus

    async def ask(self, request: Request[Any]) -> Any:
        (reply,) = await ask_together(next(self._apps), self._bus, ("default", request))
        answer = json.loads(reply)
        assert "ok" in answer, answer
        return codec.decoder(type(request).reply).decode(json.dumps(answer["ok"]))


async def enqueue_all(asking: Asking) -> list[NewRun]:
    runs = [new_run(workflow=NAMES[n % 3], version=VERSION) for n in range(RUNS)]
    hour = 3_600 * SECOND
    for place, run in enumerate(runs):
        if place % 10 == 0:  # it is cancelled before its date
            runs[place] = replace(run, options=replace(run.options, delay=hour))
        elif place % 10 == 1:  # its deadline passes before anybody has begun it
            runs[place] = replace(run, options=replace(run.options, timeout=1, priority=-1, delay=hour, start_at=None))
    for first in range(0, RUNS, 100):
        await asking.ask(Enqueue(runs[first : first + 100]))
    await asking.ask(Enqueue(runs[:100]))  # the reply was lost
    await asking.ask(Enqueue(runs[:3] * 2))
    return runs


def end_of(n: int, run: Claimed) -> Unit:
    """Return how a run ends: by itself, while it sends, with children, or it goes on once more."""
    base = run.length
    if run.claims == 1:
        match n % 5:
            case 0:
                return unit(run.fence, base, end=failed())
            case 1:
                return unit(run.fence, base, end=End(Move.CANCEL))
            case 2:
                return replace(unit(run.fence, base, end=completed()), ops=[op(run.fence.run_id)])
            case 3 if n % 100 == 3:
                return starting(run, start(workflow="child"), base=base, end=completed())
            case 4 if n % 50 == 4:
                return unit(run.fence, base, end=End(Move.RELEASE))
    return unit(run.fence, base, end=completed())


async def carry_out_all(asking: Asking) -> list[Claimed]:
    session = str(uuid.uuid4())
    routes = [(name, VERSION) for name in (*NAMES, "child")]
    await asking.ask(OpenSession(session, "w", [Route(*route) for route in routes]))
    found: list[Claimed] = []
    while True:
        reply: ClaimReply = await asking.ask(Claim(session, uuid.uuid4().hex, routes, 100))
        if not reply.runs:
            return found
        units = [end_of(len(found) + n, run) for n, run in enumerate(reply.runs)]
        record_all = Record(units)
        await asking.ask(record_all)
        await asking.ask(record_all)  # the reply was lost
        found += reply.runs


async def test_what_two_daemons_wrote_adds_up_to_what_was_done(engine: Engine, nats: Nats, bus: Connection) -> None:
    async with running_app(engine.database, nats.url) as one, running_app(engine.database, nats.url) as two:
        asking = Asking((one, two), bus)
        runs = await enqueue_all(asking)
        await engine.execute(
            "UPDATE aiki.runs r SET created_at = r.created_at - n.n * interval '77 ms' FROM ("
            " SELECT id, row_number() OVER (ORDER BY id) AS n FROM aiki.runs WHERE state = 'queued') AS n"
            " WHERE r.id = n.id"
        )
        await asking.ask(Cancel([run.id for run in runs[::10]], "nobody wants them", "me"))
        await engine.execute("UPDATE aiki.deadlines SET look_at = aiki.now() - interval '1 s'")
        await carry_out_all(asking)
        failures = await engine.execute("SELECT id::text FROM aiki.runs WHERE state = 'failed' LIMIT 10")
        await asking.ask(Retry([run_id for (run_id,) in failures]))
        await asking.ask(PutSchedule(declared()))
        await asking.ask(TriggerSchedule("nightly", new_id()))
        await carry_out_all(asking)

        async def is_over() -> bool:
            query = "SELECT count(*) FROM aiki.runs WHERE finished_at IS NULL"
            return await engine.execute(query) == [(0,)]

        await wait_until(is_over, what="all have ended")
    done, true = await engine.execute(DONE), await engine.execute(TRUE)
    assert done == true
    assert {name for name, *_ in done} == {*NAMES, "child"}
    assert sum(enqueued for _, _, enqueued, *_ in done) >= RUNS + 10
    assert all(min(counts) > 0 for _, _, *counts in done[1:])
    assert await engine.execute(DONE_BY_MINUTE) == await engine.execute(TRUE_BY_MINUTE)
    assert await engine.execute("SELECT count(DISTINCT writer)::int FROM aiki.minutes") == [(2,)]
    await quantiles_are_near(engine)
    await summary_is_that(engine, done)


async def quantiles_are_near(engine: Engine) -> None:
    taken = await engine.execute(
        "SELECT (extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY t)) * 1000000)::bigint,"
        " (extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY t)) * 1000000)::bigint FROM ("
        " SELECT finished_at - CASE WHEN starts_at IS NULL THEN created_at"
        "   ELSE least(starts_at, started_at, finished_at) END AS t"
        " FROM aiki.runs WHERE workflow = 'flow' AND finished_at IS NOT NULL) AS ended"
    )
    (rate,) = await minutes.rates(engine.pool, "default", ["flow"])
    for part, true in zip((0.5, 0.95), taken[0], strict=True):
        told = quantile(rate.buckets, part)
        assert told is not None
        assert abs(told - true) <= ERROR * true + 1


async def summary_is_that(engine: Engine, done: Sequence[tuple[Any, ...]]) -> None:
    reply = await summary(engine.pool, "default", Summary(), MESSAGE_BYTES)
    rates = [(one.workflow, VERSION, one.enqueued, one.completed, one.failed, one.cancelled) for one in reply.rates]
    assert rates == [row[:-1] for row in done]
    newest = {row[0]: row[1] for row in await engine.execute("SELECT id::text, state FROM aiki.runs")}
    for trouble in reply.troubles:
        assert trouble.state is State.FAILED
        assert newest[trouble.run_id] == "failed"
        assert trouble.error == "ValueError: no" or trouble.error.startswith("RunTimedOut: ")
    assert {one.workflow: one.runs for one in reply.troubles} == {row[0]: row[4] for row in done if row[4]}


class Wrote:
    """A daemon's tally and what writes it, on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.tally = Tally()
        self.minutes = Minutes(engine.pool, self.tally)

    async def write(self, changes: Changes) -> None:
        self.tally.add(changes)
        await self.minutes.run_once()


async def ended(engine: Engine, end: End) -> Changes:
    """Return what has changed by the end of a run."""
    run = await engine.claim_one()
    return (await engine.recorded(unit(run.fence, end=end))).changes


async def told(engine: Engine) -> SummaryReply:
    return await summary(engine.pool, engine.namespace, Summary(), MESSAGE_BYTES)


async def test_a_run_counts_in_the_minute_of_the_databases_clock(engine: Engine, clock: Standing) -> None:
    wrote = Wrote(engine)
    await clock.go_on(59.999)
    await wrote.write((await engine.carry_out(Enqueue([new_run()]))).changes)
    await clock.go_on(0.002)
    await wrote.write(await ended(engine, completed()))
    rows = await engine.execute(
        "SELECT extract(epoch FROM minute)::bigint * 1000000 / %s, enqueued, completed FROM aiki.minutes"
        " ORDER BY minute",
        MINUTE,
    )
    assert rows == [(clock.now // MINUTE - 1, 1, 0), (clock.now // MINUTE, 0, 1)]
    assert [(rate.enqueued, rate.completed) for rate in (await told(engine)).rates] == [(1, 1)]
    await clock.go_on(299)
    assert [(rate.enqueued, rate.completed) for rate in (await told(engine)).rates] == [(1, 1)]
    await clock.go_on(2)
    assert (await told(engine)).rates == []


async def test_a_clock_that_is_set_back_counts_what_is_done_then_and_nothing_twice(
    engine: Engine, clock: Standing
) -> None:
    wrote = Wrote(engine)
    await wrote.write((await engine.carry_out(Enqueue([new_run(), new_run()]))).changes)
    await clock.go_on(-1_800)
    await wrote.write(await ended(engine, failed()))
    reply = await told(engine)
    assert [(rate.enqueued, rate.failed) for rate in reply.rates] == [(0, 1)]
    assert [(one.state, one.runs, one.error) for one in reply.troubles] == [(State.FAILED, 1, "ValueError: no")]
    await clock.go_on(1_801)
    assert [(rate.enqueued, rate.failed) for rate in (await told(engine)).rates] == [(2, 0)]


async def test_a_delayed_run_takes_time_from_its_date_on(engine: Engine, clock: Standing) -> None:
    wrote = Wrote(engine)
    session = await engine.session()
    await engine.carry_out(Enqueue([new_run(delay=3_600 * SECOND)]))
    await clock.go_on(3_600)
    await engine.wake()
    (run,) = await engine.claim(session)
    await clock.go_on(10)
    sleep = End(Move.SLEEP, due_at=clock.now + 20 * SECOND)
    await engine.record(unit(run.fence, end=sleep))
    await clock.go_on(20)
    await engine.wake()
    (run,) = await engine.claim(session)
    await wrote.write((await engine.recorded(unit(run.fence, end=completed()))).changes)
    (rate,) = (await told(engine)).rates
    assert rate.p50 == rate.p95
    assert rate.p50 is not None
    assert abs(rate.p50 - 30 * SECOND) <= ERROR * 30 * SECOND


async def test_a_failed_run_that_is_gone_gives_way_to_the_one_before(engine: Engine) -> None:
    wrote = Wrote(engine)
    ids = []
    for _ in range(2):
        ids.append(await engine.queued_run())
        await wrote.write(await ended(engine, failed()))
    (trouble,) = (await told(engine)).troubles
    assert (trouble.run_id, trouble.runs) == (ids[1], 2)
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", ids[1])
    (trouble,) = (await told(engine)).troubles
    assert (trouble.run_id, trouble.runs) == (ids[0], 2)
    await engine.execute("DELETE FROM aiki.runs")
    assert (await told(engine)).troubles == []


async def test_a_daemon_that_stops_writes_its_last_part(engine: Engine, nats: Nats, bus: Connection) -> None:
    async with running_app(engine.database, nats.url) as app:
        await ask_together(app, bus, ("default", Enqueue([new_run()])))
    assert [row[2] for row in await engine.execute(DONE)] == [1]


class Failing(Minutes):
    """Loses the answers to what it writes, as often as it is told to, as an outage does."""

    lost = 0

    async def _write(self, part: int, cells: Sequence[Cell]) -> None:
        await super()._write(part, cells)
        if self.lost:
            self.lost -= 1
            raise Unavailable("the connection was lost")


async def test_a_part_whose_answer_was_lost_is_written_once(engine: Engine) -> None:
    tally = Tally()
    writing = Failing(engine.pool, tally)
    writing.lost = 2
    changes = (await engine.carry_out(Enqueue([new_run()]))).changes
    for _ in range(2):
        tally.add(changes)
        with pytest.raises(Unavailable):
            await writing.run_once()
    await writing.run_once()
    assert await engine.execute("SELECT part, enqueued FROM aiki.minutes ORDER BY part") == [(1, 1), (2, 1)]


class Hanging(Minutes):
    """Waits for Postgres for ever."""

    async def _write(self, part: int, cells: Sequence[Cell]) -> None:
        await asyncio.Event().wait()


async def test_the_end_of_a_daemon_waits_no_longer_for_its_last_part_than_that_is_worth(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aikid.loops.minutes._LAST_SECONDS", 0.05)
    tally = Tally()
    writing = Hanging(engine.pool, tally)
    tally.add((await engine.carry_out(Enqueue([new_run()]))).changes)
    async with asyncio.timeout(patient(5)):
        await writing.finish()
    assert await engine.execute("SELECT count(*) FROM aiki.minutes") == [(0,)]


async def test_a_part_that_postgres_will_never_take_holds_up_no_other(engine: Engine) -> None:
    wrote = Wrote(engine)
    never = Changes()
    never.enqueued[("default", "nul\0", "1"), SECOND] += 1
    with pytest.raises(BadData):
        await wrote.write(never)
    await wrote.write((await engine.carry_out(Enqueue([new_run()]))).changes)
    assert await engine.execute("SELECT workflow, part FROM aiki.minutes") == [("flow", 2)]


HOSTILE = ("'; DROP TABLE aiki.minutes; --", '"{},\\', "\u202e\x1b[2J", "ü" * 128, "NULL", "$(touch x)", " ")


async def test_whatever_a_workflow_is_called_it_is_counted_as_itself(engine: Engine) -> None:
    cells = [Cell("n", name, name, 0, enqueued=n, failed=1, buckets={0: n}) for n, name in enumerate(HOSTILE, 1)]
    for cell in cells:
        cell.minute = (await engine.execute("SELECT extract(epoch FROM aiki.now())::bigint / 60"))[0][0]

    async def write(connection: Postgres) -> None:
        await minutes.write(connection, str(uuid.uuid4()), 1, cells)

    await engine.pool.run(write)
    found = await minutes.rates(engine.pool, "n", [*HOSTILE, "unknown"])
    assert {one.workflow: (one.enqueued, one.buckets) for one in found} == {
        name: (n, {0: n}) for n, name in enumerate(HOSTILE, 1)
    }
    assert await minutes.rates(engine.pool, "other", list(HOSTILE)) == []


async def test_two_thousand_workflows_are_counted_each_once_over_all_pages(engine: Engine) -> None:
    runs = [new_run(workflow=f"flow-{n // 2:04}", version=f"{n % 2}") for n in range(4_000)]
    wrote = Wrote(engine)
    for first in range(0, 4_000, 1_000):
        wrote.tally.add((await engine.carry_out(Enqueue(runs[first : first + 1_000]))).changes)
    await wrote.minutes.run_once()
    counts: Counter[str] = Counter()
    reply = SummaryReply([], 0, "0")
    while reply.cursor is not None:
        reply = await summary(engine.pool, engine.namespace, Summary(reply.cursor), 100_000)
        for rate in reply.rates:
            assert rate.workflow not in counts
            counts[rate.workflow] += rate.enqueued
    assert counts == Counter(run.workflow for run in runs)


async def test_to_enqueue_and_to_end_runs_is_a_statement_each_as_it_was(engine: Engine) -> None:
    await engine.queued_run()
    await engine.claim_one()
    pool = CountedPool(engine.database)
    engine.pool, hot = pool, engine.pool
    try:
        done = await engine.carry_out(Enqueue([new_run() for _ in range(50)]))
        assert pool.count == 1
        engine.pool = hot
        runs = await engine.claim(await engine.session(), limit=50)
        pool.count = 0
        calls = [("default", Record([unit(run.fence, end=completed()) for run in runs]))]
        ends = await record.record(pool, calls, engine.watchers, room=engine.room, routes=engine.routes)
        assert pool.count == 1
        tally = Tally()
        for changes in (done.changes, ends.changes):
            tally.add(changes)
        ((cell),) = tally.take()
        assert (cell.enqueued, cell.completed, pool.count) == (50, 50, 1)
        assert await engine.execute("SELECT count(*) FROM aiki.minutes") == [(0,)]
    finally:
        engine.pool = hot
        await pool.aclose()


async def test_what_was_done_is_kept_for_a_day_and_an_hour(engine: Engine) -> None:
    wrote = Wrote(engine)
    await wrote.write((await engine.carry_out(Enqueue([new_run()]))).changes)
    await engine.execute(
        "INSERT INTO aiki.minutes SELECT namespace, workflow, minute, version, writer, n + 1, enqueued, completed,"
        " failed, cancelled, buckets, bucket_runs, failed_id, written_at - %s * interval '1 second'"
        " FROM aiki.minutes, generate_series(1, %s) AS n",
        KEPT_MINUTES_SECONDS + 60,
        BATCH + 1,
    )
    deleted = []
    after: Any = Kind.MINUTES.beginning
    while after is not None:
        count, after = await engine.pool.run(lambda c, a=after: prune(c, Kind.MINUTES.value, a))  # type: ignore[misc]
        deleted.append(count)
    assert deleted == [BATCH, 1]
    assert await engine.execute("SELECT part FROM aiki.minutes") == [(1,)]
