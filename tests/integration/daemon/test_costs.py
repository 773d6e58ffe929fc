"""What one request may cost: a quarter of a second of the daemon's loop, and one of its lanes for a second.

Each operation is asked for as much as its limits allow, in the shape that was found to cost most.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from nats.aio.client import Client as Connection

from aiki.core.states import Move
from aiki.wire import subjects
from aiki.wire.limits import (
    BATCH_RUNS,
    FOLLOWED_RUNS,
    HELD_CLAIMS,
    LIST_ITEMS,
    MESSAGE_BYTES,
    POLICIES,
    RETRIED_RUNS,
    ROUTES,
    SCHEDULES,
    SLOTS,
    UNIT_ITEMS,
    UNREAD_EVENTS,
    WHY_RUNS,
)
from aiki.wire.messages import Attempt, Claim, End, Enqueue, History, ListRuns, Request, Status
from aikid.app import App
from aikid.engine import claims
from aikid.main import GC_THRESHOLDS
from aikid.ops import OPS
from aikid.store import inbox
from aikid.store.pool import Connection as PoolConnection
from tests.integration.daemon.asking import ask_together, send_together
from tests.integration.daemon.costing import CountedPool
from tests.integration.daemon.engine import (
    STORED_BESIDE,
    VERSION,
    WORKFLOW,
    Engine,
    entry,
    event,
    new_id,
    new_run,
    running_engine,
    unit,
)
from tests.waiting import patient

pytestmark = pytest.mark.anyio

LOOP_SECONDS = 0.25
LANE_SECONDS = 1.0
NAMESPACE = "large"


@pytest.fixture(autouse=True)
def collecting_as_a_daemon_does() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    yield
    gc.set_threshold(*before)


@asynccontextmanager
async def watching_the_loop() -> AsyncIterator[list[float]]:
    """Yield a list that holds how long the loop was held at most, in seconds."""
    worst = [0.0]

    async def tick() -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            worst[0], before = max(worst[0], now - before), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    worst[0] = 0.0
    yield worst
    ticking.cancel()


@dataclass(frozen=True)
class Large:
    """A namespace with many routes, and a session that holds a run."""

    session: str
    held: str
    ids: list[str]

    def unit(self, base: int, entries: Sequence[Any] = (), attempts: Sequence[Any] = ()) -> list[Any]:
        return [[self.held, 1, "claim"], base, entries, attempts]


@pytest.fixture
async def large(database: str) -> AsyncIterator[Large]:
    async with running_engine(database, NAMESPACE) as engine:
        session, held = await engine.session(), await engine.queued_run()
        await engine.claim(session)
        await engine.execute("UPDATE aiki.runs SET claim_id = 'claim'")
        await engine.execute(
            "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input)"
            " SELECT id, id, %s, 'w' || n %% 2000, '1', 'queued', '{}'"
            " FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, 20000) AS n) AS made",
            NAMESPACE,
        )
        await engine.execute(STORED_BESIDE)
        rows = await engine.execute("SELECT id::text FROM aiki.runs LIMIT %s", BATCH_RUNS)
        yield Large(session, held, [row[0] for row in rows])


def filled(head: dict[str, Any], member: str, item: Callable[[int], Any], most: int) -> dict[str, Any]:
    """Return a request with as many items as its limit and a message allow."""
    size = len(msgspec.json.encode(item(most))) + 1
    room = (MESSAGE_BYTES - len(msgspec.json.encode(head)) - 100) // size
    return head | {member: [item(number) for number in range(min(most, room))]}


def route(workflow: str, **more: Any) -> dict[str, Any]:
    return {"workflow": workflow, "version": "1", **more}


def new(workflow: str = "w", **more: Any) -> dict[str, Any]:
    return {"id": new_id(), "workflow": workflow, "version": "1", "input": {}, **more}


def sent(run_id: str, **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "id": new_id(), "name": "e", **more}


def whole_import(member: str, item: Callable[[int], Any]) -> dict[str, Any]:
    run_id = new_id()
    run = {"id": run_id, "workflow": "w", "version": "1", "state": "waiting", "input": {}, "origin_id": run_id}
    head = {"id": run_id, "namespace": "n", "exported_at": 1, "run": run | {"created_at": 1, "started_at": 1}}
    return filled(head, member, item, UNIT_ITEMS) | {"last": True}


def schedule(name: str, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made = {"id": str(uuid.uuid4()), "name": name, "workflow": "w", "version": "1", "input": {}}
    return made | {"spec": spec or CRON} | more


def of_shop(number: int, **more: Any) -> dict[str, Any]:
    return schedule(f"s{number}", {"cron": f"{number % 60} 2 1 1 *"}, project="shop", **more)


CRON = {"cron": "0 0 29 2 MON#5", "timezone": "Australia/Lord_Howe"}
"""Which has the fewest slots of all, far from one another."""
EACH_SECOND = {"every": 1_000_000}
BRACKETS = msgspec.Raw(b"[" + b"[]," * 80_000 + b"[]]")
"""A payload of as many values as one can hold."""
LABELS = {f"l{number}": "x" * 256 for number in range(20)}
ENTRY, OTHER = ["k", True, 1, 1], ["k", True, 2, 1]
Shapes = Callable[[Large], list[dict[str, Any]]]
SHAPES: dict[str, Shapes] = {
    # By operation what costs most, in an order in which each finds something to do.
    "session_open": lambda _: [
        filled({"id": new_id(), "worker": "w"}, "routes", lambda n: route(f"w{n}"), ROUTES),
        filled({"id": new_id(), "worker": "w"}, "routes", lambda n: route(f"w{n}", task_names=["t"] * 50), ROUTES),
        {"id": new_id(), "worker": "w", "routes": [route("w", parameters={"prefixItems": [{}] * 9_998})]},
        {"id": new_id(), "worker": "w", "routes": [route("w", parameters={"enum": BRACKETS})]},
    ],
    "enqueue": lambda _: [
        filled({"inbox": "_INBOX.x"}, "runs", lambda n: new(), BATCH_RUNS),
        filled({}, "runs", lambda n: new(f"new-{n}"), BATCH_RUNS),
        {"runs": [new(input=BRACKETS), new(input=BRACKETS)]},
        {"runs": [new(options={"labels": {f"l{number}": "" for number in range(LIST_ITEMS)}})] * 30},
        filled({}, "runs", lambda n: new(options={"labels": LABELS, "key": f"k{n}"}, digest="0" * 32), BATCH_RUNS),
    ],
    "record": lambda large: [
        {"units": [large.unit(0, [ENTRY] * UNIT_ITEMS)]},
        {"units": [large.unit(0, [ENTRY] * UNIT_ITEMS)]},
        {"units": [large.unit(0, [OTHER] * UNIT_ITEMS)]},
        {"units": [large.unit(UNIT_ITEMS, [], [[f"k{number}", 1] for number in range(UNIT_ITEMS)])]},
        {"units": [large.unit(UNIT_ITEMS, [["k", True, BRACKETS, 1]])]},
        {"units": [[[run_id, 1, "claim"], 0, [ENTRY] * 25, []] for run_id in large.ids]},
        {"units": [large.unit(0)] * BATCH_RUNS},
        {"units": [[*large.unit(0), None, [[new_id(), large.held, "e"] for _ in range(UNIT_ITEMS)]]]},
        {"units": [[*large.unit(0), None, [[new_id(), run_id, "e"] for run_id in large.ids]]]},
        {"units": [[*large.unit(UNIT_ITEMS, [["k", True, 1, 1, None, 0, list(range(UNREAD_EVENTS))]])]]},
    ],
    "claim": lambda large: [
        filled({"session": large.session, "claim_id": "a", "limit": 200}, "routes", lambda n: [f"w{n}", "1"], ROUTES),
        filled({"session": large.session, "claim_id": "b", "limit": 200}, "routes", lambda n: ["w0", "1"], ROUTES),
    ],
    "session_renew": lambda large: [
        filled({"id": large.session}, "held", lambda n: str(uuid.UUID(int=n)), HELD_CLAIMS),
    ],
    "status": lambda large: [{"ids": large.ids}, {"ids": large.ids[:1] * BATCH_RUNS}],
    "watch": lambda large: [{"ids": large.ids, "inbox": "_INBOX.x", "seconds": 60}],
    "follow": lambda large: [
        {"runs": [[run_id] for run_id in large.ids[:FOLLOWED_RUNS]], "inbox": "_INBOX.x", "seconds": 60},
        {"runs": [[large.held]] * FOLLOWED_RUNS, "inbox": "_INBOX.x", "seconds": 60},
    ],
    "follow_namespace": lambda _: [{"inbox": "_INBOX.x", "seconds": 60}],
    "find": lambda _: [{"reference": "f" * 32}, {"reference": "w@" + "x" * 500}],
    "list": lambda _: [{"limit": 1_000_000}, {"states": ["waiting"] * 11, "labels": LABELS, "workflow": "x"}],
    "history": lambda large: [{"id": large.held}],
    "export": lambda large: [{"ids": large.ids}, {"ids": [large.held] * LIST_ITEMS}],
    "import": lambda _: [
        whole_import("entries", lambda n: [f"task:k{n}:0:0", True, 1, 1]),
        whole_import("unread", lambda n: [n + 1, 1, "event", "e", 1, new_id()]),
        whole_import("moves", lambda n: [n + 1, 1, "claim"]),
    ],
    "input": lambda large: [{"id": large.held}],
    "send": lambda large: [
        filled({}, "items", lambda n: sent(large.held), BATCH_RUNS),
        filled({}, "items", lambda n: sent(large.ids[n % len(large.ids)]), BATCH_RUNS),
        filled({}, "items", lambda n: sent(large.held, key=f"k{n}", digest="0" * 32), BATCH_RUNS),
        {"items": [sent(large.held, value=BRACKETS)]},
    ],
    "inbox": lambda large: [{"run_id": large.held}],
    "page": lambda large: [{"run_id": large.held, "after": 0}],
    "pause": lambda large: [{"ids": large.ids, "actor": "x" * 256}],
    "cancel": lambda large: [{"ids": large.ids, "actor": "x" * 256, "reason": "x" * 1_000}],
    "move": lambda large: [{"ids": large.ids, "version": "2.0", "force": True, "claims": [1] * len(large.ids)}],
    "wake": lambda large: [{"ids": large.ids, "id": new_id()}],
    "resume": lambda large: [{"ids": large.ids, "actor": "x" * 256}, {"ids": large.ids[:1] * BATCH_RUNS}],
    "delete": lambda large: [{"ids": large.ids[:RETRIED_RUNS], "actor": "x" * 256, "preview": True}] * 2,
    "storage": lambda _: [{"most": 1_000}] * 2,
    "retry": lambda large: [{"ids": large.ids[:RETRIED_RUNS], "actor": "x" * 256}] * 2,
    "schedule_put": lambda _: [
        {"schedule": schedule("a", EACH_SECOND, options={"labels": LABELS})},
        {"schedule": schedule("b", {"cron": "0 0 1 1 *", "timezone": "x" * 200})},
        {"schedule": schedule("b")},
        {"schedule": schedule("c", input=BRACKETS)},
    ],
    "schedule_apply": lambda _: [
        filled({"project": "shop"}, "schedules", of_shop, SCHEDULES),
        filled({"project": "shop"}, "schedules", lambda n: of_shop(n, input=1), SCHEDULES),
        {"project": "shop", "schedules": []},
    ],
    "retention_apply": lambda _: [
        {
            "project": "shop",
            "policies": [{"workflow": f"w{n}", "periods": {"failed": 86_400_000_000 + n}} for n in range(POLICIES)],
        },
        {"project": "shop", "policies": [], "prune": True},
    ],
    "retention": lambda _: [{}, {"after": "w1"}],
    "schedule_list": lambda _: [{}],
    "schedule_show": lambda _: [{"name": "a", "slots": SLOTS}],
    "schedule_next": lambda _: [{"name": "a", "count": SLOTS}, {"name": "s1", "count": SLOTS}],
    "schedule_backfill": lambda _: [
        {"name": "a", "start": 0, "end": SLOTS * 1_000_000, "overlap": overlap, "dry_run": overlap == "skip"}
        for overlap in ("skip", "queue", "allow")
    ],
    "schedule_trigger": lambda _: [{"name": "a", "id": new_id()}],
    "schedule_order": lambda _: [
        filled({"order": order}, "names", lambda n: f"s{n}", LIST_ITEMS) for order in ("resume", "pause", "delete")
    ],
    "summary": lambda _: [{}],
    "workers": lambda _: [{}],
    "workflows": lambda _: [{}],
    "why": lambda large: [{"ids": large.ids[:WHY_RUNS]}, {"ids": [large.held] * WHY_RUNS}],
    "session_close": lambda large: [{"id": large.session}],
}


def test_every_operation_has_its_shapes() -> None:
    assert set(SHAPES) == set(OPS)


async def test_no_request_holds_the_loop_or_a_lane_for_long(app: App, bus: Connection, large: Large) -> None:
    for op, shapes in SHAPES.items():
        for number, request in enumerate(shapes(large)):
            data = msgspec.json.encode(request)
            assert len(data) <= MESSAGE_BYTES
            async with watching_the_loop() as worst:
                started = time.perf_counter()
                (reply,) = await send_together(app, bus, (subjects.api(NAMESPACE, op), data))
                seconds = time.perf_counter() - started
            assert worst[0] < patient(LOOP_SECONDS), f"{op} {number} held the loop"
            assert seconds < patient(LANE_SECONDS), f"{op} {number} held its lane"
            assert json.loads(reply).get("error", {}).get("code") not in ("internal", "unavailable")


async def seconds_of(app: App, bus: Connection, request: Request[Any]) -> float:
    """Return what the request takes as a rule."""
    taken = []
    for _ in range(15):
        started = time.perf_counter()
        await ask_together(app, bus, (NAMESPACE, request))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def test_a_status_takes_no_longer_with_thousands_of_sessions(app: App, bus: Connection, engine: Engine) -> None:
    run = new_run()
    await ask_together(app, bus, (NAMESPACE, Enqueue([run])))
    alone = await seconds_of(app, bus, Status([run.id]))
    await engine.execute(
        "WITH made AS (INSERT INTO aiki.sessions (id, namespace, worker, ttl, expires_at)"
        " SELECT gen_random_uuid(), %s, 'w', '1 h', now() + interval '1 h' FROM generate_series(1, 3000) RETURNING id)"
        " INSERT INTO aiki.session_routes (session_id, namespace, workflow, version)"
        " SELECT id, %s, 'w' || n, '1' FROM made, generate_series(1, 10) AS n",
        NAMESPACE,
        NAMESPACE,
    )
    assert await seconds_of(app, bus, Status([run.id])) < 2 * alone + patient(0.005)
    (reply,) = await ask_together(app, bus, (NAMESPACE, Status([run.id])))
    assert json.loads(reply)["ok"]["runs"][0]["why"] == "no live worker serves flow 1.0"


async def test_a_flood_of_reads_refuses_no_read_of_another_namespace(app: App, bus: Connection) -> None:
    run = new_run()
    await ask_together(app, bus, ("small", Enqueue([run])))
    flood: list[tuple[str, Request[Any]]] = [("flood", ListRuns())] * 300
    *lists, history = await ask_together(app, bus, *flood, ("small", History(run.id)))
    assert sum(b'"overloaded"' in reply for reply in lists) == 100
    assert [item["move"] for item in json.loads(history)["ok"]["items"]] == ["enqueued"]


async def trips(engine: Engine, session: str) -> int:
    """Return how often the claim of a run sends something to Postgres."""
    pool = CountedPool(engine.database)
    request = Claim(session, uuid.uuid4().hex, [(WORKFLOW, VERSION)], 1)
    (run,) = (await claims.claim(pool, engine.namespace, request, room=engine.room)).runs
    await pool.aclose()
    await engine.record(unit(run.fence, end=End(Move.RELEASE)))
    return pool.count


async def test_a_claim_asks_for_no_more_than_there_is_of_a_run(engine: Engine) -> None:
    session, run_id = await engine.session(), await engine.queued_run()
    assert await trips(engine, session) == 1, "it is new"
    assert await trips(engine, session) == 2, "its journal, and what was tried, would be there"
    await engine.send(event(run_id))
    assert await trips(engine, session) == 3, "what reached it"
    run = await engine.claim_one(session)
    tried = Attempt("task:b:0:0", 1, Raw(b"{}"), None)
    assert await engine.results(unit(run.fence, 0, entry(), attempts=[tried], end=End(Move.RELEASE))) == ["done"]
    assert await trips(engine, session) == 5


async def test_a_send_looks_at_no_whole_inbox_by_a_plan_of_when_there_was_none(engine: Engine) -> None:
    runs = [await engine.queued_run() for _ in range(20)]

    async def scans(connection: PoolConnection) -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        cursor = await connection.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'inbox'")
        ((count,),) = await cursor.fetchall()
        return int(count)

    async def work(connection: PoolConnection) -> int:
        for _ in range(3):
            await inbox.send(connection, [engine.namespace] * 200, [event(runs[n % 20]) for n in range(200)])
        before = await scans(connection)
        for run_id in runs:
            await inbox.send(connection, [engine.namespace], [event(run_id)])
        return await scans(connection) - before

    assert await engine.pool.run(work) == 0
