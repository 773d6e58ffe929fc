"""Runs with long journals: what is read of them follows from what is told, not from how long they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from nats.aio.client import Client as Connection

from aiki.core.states import State
from aiki.wire.messages import Entry, Page, Record, Resume, Route, Watch, Workflows
from aikid.app import App
from aikid.engine import status
from aikid.store import journal
from aikid.store.arrays import Ints, Uuids
from aikid.store.status import COUNTED
from tests.integration.daemon.asking import ask_together
from tests.integration.daemon.costing import CountingPool
from tests.integration.daemon.engine import VALUE, Engine, completed, entry, new_id, unit
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


async def runs_with(engine: Engine, *lengths: int) -> list[str]:
    """Return queued runs that were claimed before, oldest first, with so many entries in their journals."""
    runs = [await engine.queued_run() for _ in lengths]
    await engine.execute("UPDATE aiki.runs SET epoch = 1, started_at = now()")
    for run_id, length in zip(runs, lengths, strict=True):
        await engine.execute(
            "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value)"
            " SELECT %s, n, true, 1, CASE WHEN n %% 4 = 0 THEN 'timer' ELSE 'task:a' END, '1'"
            " FROM generate_series(1, %s) AS n",
            run_id,
            length,
        )
        await engine.execute("INSERT INTO aiki.task_counts VALUES (%s, %s, %s)", run_id, length, tasks(length))
    return runs


TIMER = Entry("timer:1", True, VALUE, 1)


def tasks(length: int) -> int:
    return length - length // 4


async def ask(app: App, bus: Connection, request: Any) -> Any:
    (reply,) = await ask_together(app, bus, ("default", request))
    return json.loads(reply)["ok"]


@pytest.mark.parametrize("size", [1, 7, COUNTED, 3 * COUNTED + 1])
async def test_tasks_are_counted_from_where_they_were_counted_last(engine: Engine, database: str, size: int) -> None:
    """Whatever the units are like that a journal has grown by; and a status reads no more of a long one."""
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    pool = CountingPool(database)
    base = 0
    for total in (COUNTED - 1, COUNTED, COUNTED + 1, 4 * COUNTED + 2):
        while base < total:
            entries = [TIMER if n % 4 == 0 else entry() for n in range(base + 1, min(base + size, total) + 1)]
            assert await engine.results(unit(run.fence, base, *entries)) == ["done"]
            base += len(entries)
        pool.buffers = 0
        found = await status.statuses(pool, [(engine.namespace, run_id)])
        assert found[engine.namespace, run_id].tasks == tasks(total)
        assert pool.buffers <= COUNTED + 20
    assert await engine.results(unit(run.fence, base, *[TIMER] * COUNTED, end=completed())) == ["done"]
    assert (await engine.status(run_id)).tasks == tasks(base)
    await pool.aclose()


async def test_one_long_run_is_counted_wherever_it_is_told_alone(app: App, bus: Connection, engine: Engine) -> None:
    (run_id,) = await runs_with(engine, 1_000)
    await engine.execute("UPDATE aiki.runs SET state = 'blocked'")
    await ask(app, bus, Resume([run_id]))
    heard = await bus.subscribe("_INBOX.long")
    watched = await ask(app, bus, Watch([run_id], "_INBOX.long", 30.0))
    assert watched["runs"][0]["tasks"] == tasks(1_000)
    run = await engine.claim_one()
    await ask(app, bus, Record([unit(run.fence, 1_000, entry("b"), end=completed())]))
    await wait_until(lambda: heard.pending_msgs)
    (pushed,) = json.loads((await heard.next_msg()).data)["runs"]
    assert (pushed["state"], pushed["tasks"]) == (State.COMPLETED, tasks(1_000) + 1)


async def test_a_claim_reads_as_many_entries_as_its_reply_can_hold(engine: Engine) -> None:
    runs = await runs_with(engine, 3_000, 3_000, 3_000)
    await engine.execute("ANALYZE aiki.journal")
    reply = await engine.claim_reply(await engine.session())
    claimed = {run.fence.run_id: (len(run.entries), run.length) for run in reply.runs}
    assert set(claimed) == set(runs)
    (first, *rest) = (claimed[run.fence.run_id] for run in reply.runs)
    assert first == (3_000, 3_000)
    assert sum(entries for entries, _ in rest) < 1_000
    assert all(length == 3_000 for _, length in rest)


def test_no_more_entries_are_looked_at_than_fit() -> None:
    lengths = {new_id(): length for length in (10, 0, 50_000, 50_000)}
    runs, most = journal._within(lengths, 4_000)
    assert runs.data == Uuids(list(lengths)[:3]).data
    assert most.data == Ints([10, 0, 3_990]).data


async def test_tries_are_paged_in_the_order_of_their_keys(app: App, bus: Connection, engine: Engine) -> None:
    (run_id,) = await runs_with(engine, 1)
    await engine.execute(
        "INSERT INTO aiki.attempts (run_id, key, attempt, error, epoch, journal_length)"
        " SELECT %s, 'task:' || n, attempt, '{}', 1, 0"
        " FROM generate_series(1, 12000) AS n, generate_series(1, 2) AS attempt",
        run_id,
    )
    keys: list[str] = []
    while page := (await ask(app, bus, Page(run_id, tried_after=keys[-1] if keys else ""))).get("attempts"):
        assert {attempt[1] for attempt in page} == {2}
        keys += [attempt[0] for attempt in page]
    assert keys == sorted(f"task:{number}" for number in range(1, 12_001))


async def test_routes_are_paged_by_what_their_schemas_weigh(app: App, bus: Connection, engine: Engine) -> None:
    schema = Raw(b'{"description":"' + b"x" * 150_000 + b'"}')
    for number in range(5):
        await engine.session(routes=[Route(f"w{number}", "1.0", schema)])
    found: list[str] = []
    pages, cursor = 0, None
    while True:
        reply = await ask(app, bus, Workflows(cursor=cursor))
        found += [route["workflow"] for route in reply["routes"]]
        assert all(len(route["parameters"]["description"]) == 150_000 for route in reply["routes"])
        pages += 1
        if (cursor := reply.get("cursor")) is None:
            break
    assert (found, pages) == ([f"w{number}" for number in range(5)], 2)
