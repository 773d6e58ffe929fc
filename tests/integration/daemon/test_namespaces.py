"""Namespaces are tenants: whatever one asks, it learns nothing of another's runs and changes nothing of theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pytest
from msgspec import Raw, to_builtins
from msgspec.structs import replace
from nats import connect
from nats.aio.client import Client as Connection

from aiki.core.retention import GONE, Periods
from aiki.core.states import Move, State
from aiki.rules.recording import FENCED
from aiki.wire.messages import (
    NULL,
    ApplyRetention,
    ApplySchedules,
    Attempt,
    BackfillSchedule,
    Cancel,
    Claim,
    Claimed,
    CloseSession,
    Delete,
    End,
    Enqueue,
    Export,
    Fence,
    Find,
    Follow,
    FollowNamespace,
    History,
    Import,
    ImportedRun,
    Inbox,
    Input,
    ListRuns,
    ListSchedules,
    MoveRuns,
    NewRun,
    NewSchedule,
    NextSlots,
    OpenSession,
    OrderSchedules,
    Page,
    Pause,
    Policy,
    PutSchedule,
    ReadRetention,
    Record,
    RenewSession,
    Request,
    Resume,
    Retry,
    Route,
    Seen,
    Send,
    Sent,
    ShowSchedule,
    Status,
    StopOp,
    Storage,
    Summary,
    TriggerSchedule,
    Wake,
    Watch,
    Why,
    Workers,
    Workflows,
)
from aiki.wire.subjects import HINT_STREAM
from aikid.app import App
from aikid.engine import claims, policies
from aikid.ops import OPS
from aikid.tell.offerer import _in_turn
from tests.integration.daemon.asking import ask_together, running_app
from tests.integration.daemon.engine import Engine, completed, entry, new_id, new_run, running_engine, unit
from tests.integration.daemon.family import start
from tests.integration.daemon.firing import declared, put, trigger
from tests.servers import Nats
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

OURS, THEIRS = "ours", "theirs"
SECRET = "secret"
"""Stands in every text of ours, so that a reply which holds it has crossed."""
FLOW = f"{SECRET}-flow"
ROUTE = {"workflow": "flow", "version": "1.0"}
RECORDED = entry(SECRET, Raw(b'"secret-value"'))


@dataclass(frozen=True)
class Ours:
    """What a stranger might have heard of us: ids, names and keys; and a session of the stranger's own."""

    engine: Engine
    session: str
    claim_id: str
    running: Claimed
    queued: NewRun
    blocked: str
    completed: str
    stranger: str
    schedule: NewSchedule

    @property
    def ids(self) -> list[str]:
        return [self.running.fence.run_id, self.queued.id, self.blocked, self.completed]

    async def rows(self) -> list[list[tuple[Any, ...]]]:
        """Return all that stands in the database about us."""
        of_runs = [
            f"SELECT x::text FROM aiki.{table} x JOIN aiki.runs r ON r.id = x.run_id WHERE r.namespace = %s ORDER BY 1"
            for table in ("journal", "attempts", "run_history", "inbox")
        ]
        own = [
            f"SELECT x::text FROM aiki.{table} x WHERE namespace = %s ORDER BY 1"
            for table in ("runs", "sessions", "routes", "schedules", "retention")
        ]
        slots = (
            "SELECT x::text FROM aiki.slots x JOIN aiki.schedules s ON s.id = x.schedule_id WHERE s.namespace = %s"
            " ORDER BY 1"
        )
        return [await self.engine.execute(query, OURS) for query in (*of_runs, *own, slots)]


def secret_run() -> NewRun:
    return new_run(
        workflow=FLOW,
        input=Raw(b'{"text":"secret-input"}'),
        key=f"{SECRET}-key-{new_id()}",
        digest="0" * 32,
        labels={"label": f"{SECRET}-label"},
    )


@pytest.fixture
async def ours(database: str) -> AsyncIterator[Ours]:
    async with running_engine(database, OURS) as engine, running_engine(database, THEIRS) as stranger:
        route = Route(FLOW, "1.0", Raw(b'{"title":"secret-schema"}'), [f"{SECRET}-task"])
        session, claim_id = await engine.session(worker=f"{SECRET}-worker", routes=[route]), f"{SECRET}-claim"
        await engine.enqueue(secret_run(), secret_run(), secret_run())
        claim = Claim(session, claim_id, [(FLOW, "1.0")], 3)
        running, blocked, ended = (await claims.claim(engine.pool, OURS, claim, room=engine.room)).runs
        failed = Attempt(f"task:{SECRET}:0:0", 1, Raw(b'{"type":"E","message":"secret-error"}'))
        units = (
            unit(running.fence, 0, RECORDED, attempts=[failed]),
            unit(blocked.fence, end=End(Move.DIVERGE, why=f"{SECRET}-why")),
            unit(ended.fence, end=completed(b'"secret-output"')),
        )
        assert await engine.results(*units) == ["done"] * 3
        queued = secret_run()
        await engine.enqueue(queued)
        # So long ago that a renewal which does not list it is told of it.
        await engine.execute("UPDATE aiki.runs SET last_claimed_at = now() - interval '1 hour'")
        ids = blocked.fence.run_id, ended.fence.run_id
        schedule = declared(FLOW, workflow=FLOW, input=Raw(b'{"text":"secret-input"}'), project=f"{SECRET}-project")
        await put(engine, schedule)
        await trigger(engine, FLOW)
        policies_of_ours = ApplyRetention(SECRET, [Policy(FLOW, Periods(0))])
        assert (await policies.apply(engine.pool, OURS, policies_of_ours)).is_done
        yield Ours(engine, session, claim_id, running, queued, *ids, await stranger.session(), schedule)


NOTHING: dict[str, Any] = {"runs": []}
NOT_FOUND, CONFLICT = "not_found", "conflict"
UNKNOWN = [{"result": "unknown"}] * 4
UNKNOWN_SCHEDULE = {"result": "unknown", "reason": f"there is no schedule '{FLOW}'"}
ORDERS: Final[Sequence[Literal["pause", "resume", "delete"]]] = ("pause", "resume", "delete")
SHOW = ShowSchedule(FLOW)
LATER = 4_000_000_000_000_000
"""A time after all of these runs, in microseconds."""


def copied(run_id: str) -> ImportedRun:
    """Return what a stranger says that a run is."""
    return ImportedRun(run_id, FLOW, "1.0", State.QUEUED, NULL, run_id, 1, 1)


Row = tuple[Request[Any], Request[Any], object]
ROWS: dict[str, Callable[[Ours], list[Row]]] = {
    # By operation: what we ask for, what a stranger asks beside it, and what the stranger is to be told.
    "enqueue": lambda o: [
        (Enqueue([secret_run()]), Enqueue([replace(o.queued, id=run_id)], "_INBOX.x"), CONFLICT) for run_id in o.ids
    ],
    "status": lambda o: [(Status(o.ids), Status(o.ids), NOTHING)],
    "watch": lambda o: [(Watch(o.ids, "_INBOX.x", 30.0), Watch(o.ids, "_INBOX.y", 30.0), NOTHING)],
    "follow": lambda o: [
        (
            Follow([Seen(i) for i in o.ids], "_INBOX.x", 30.0),
            Follow([Seen(i) for i in o.ids], "_INBOX.y", 30.0),
            NOTHING,
        )
    ],
    "find": lambda o: [
        (Find(o.queued.id), Find(word), {"ids": []})
        for word in (o.queued.id, o.queued.id[:12], o.queued.id[-12:], f"{FLOW}@{o.queued.options.key}")
    ],
    "list": lambda o: [
        (ListRuns(), ListRuns(), NOTHING),
        (ListRuns(), ListRuns(workflow=FLOW, labels=o.queued.options.labels), NOTHING),
        (ListRuns(), ListRuns(states=[State.BLOCKED], cursor=f"{LATER}.{o.blocked}"), NOTHING),
    ],
    "history": lambda o: [(History(run_id), History(run_id), NOT_FOUND) for run_id in o.ids],
    "export": lambda o: [(Export(o.ids), Export(o.ids), NOTHING)],
    "import": lambda o: [
        (Export(o.ids), Import(run_id, FLOW, 1, run=copied(run_id)), {"result": "taken"}) for run_id in o.ids
    ],
    "input": lambda o: [(Input(run_id), Input(run_id), NOT_FOUND) for run_id in o.ids],
    "resume": lambda o: [(Resume(o.ids), Resume(o.ids), {"outcomes": UNKNOWN})],
    "cancel": lambda o: [(Cancel(o.ids), Cancel(o.ids), {"outcomes": UNKNOWN})],
    "move": lambda o: [
        (MoveRuns(o.ids, "1.0"), MoveRuns(o.ids, "2.0", force=True), {"outcomes": [{"result": "unknown"}] * len(o.ids)})
    ],
    "wake": lambda o: [(Wake(o.ids, id=new_id()), Wake(o.ids, id=new_id()), {"outcomes": UNKNOWN})],
    "retry": lambda o: [
        (Pause(o.ids), Retry(o.ids), {"outcomes": [{"result": "unknown", "run_id": run_id} for run_id in o.ids]})
    ],
    "pause": lambda o: [(Pause(o.ids), Pause(o.ids), {"outcomes": UNKNOWN})],
    "schedule_put": lambda o: [
        (SHOW, PutSchedule(o.schedule, update=True), UNKNOWN_SCHEDULE),
        (SHOW, PutSchedule(o.schedule), CONFLICT),
    ],
    "schedule_apply": lambda o: [
        (SHOW, ApplySchedules(o.schedule.project or "", [], prune=True), {"changes": [], "is_done": True}),
        (SHOW, ApplySchedules(o.schedule.project or "", [o.schedule]), CONFLICT),
    ],
    "retention_apply": lambda o: [
        (ReadRetention(), ApplyRetention(SECRET, [], prune=True), {"changes": [], "is_done": True}),
        (
            ReadRetention(),
            ApplyRetention("theirs", [Policy(FLOW, Periods(0))], dry_run=True),
            {"changes": [{"workflow": FLOW, "action": "create"}], "is_done": False},
        ),
    ],
    "retention": lambda _: [(ReadRetention(), ReadRetention(), {"policies": [], "rest": {}, "key_seconds": 2_592_000})],
    "schedule_order": lambda _: [(SHOW, OrderSchedules([FLOW], order), {"outcomes": UNKNOWN[:1]}) for order in ORDERS],
    "schedule_trigger": lambda _: [(SHOW, TriggerSchedule(FLOW, new_id()), {"known": False})],
    "schedule_backfill": lambda _: [(SHOW, BackfillSchedule(FLOW, 0, 1), {"known": False})],
    "schedule_list": lambda o: [(SHOW, ListSchedules(project=o.schedule.project), {"schedules": [], "more": False})],
    "schedule_show": lambda _: [(SHOW, SHOW, {})],
    "schedule_next": lambda _: [(SHOW, NextSlots(FLOW), {"known": False})],
    "delete": lambda o: [
        (Delete([], "me"), Delete([run_id], "me"), {"outcomes": [{"result": "unknown"}]}) for run_id in o.ids
    ],
    "storage": lambda _: [(Storage(), Storage(), {"workflows": [], "is_whole": True})],
    "summary": lambda _: [
        (
            Summary(),
            Summary(),
            {"rows": [], "workers": 1, "queues": [{**ROUTE, "workers": 1}], "sessions": [[[*ROUTE.values()]]]},
        )
    ],
    "follow_namespace": lambda _: [
        (
            FollowNamespace("_INBOX.x", 30.0),
            FollowNamespace("_INBOX.y", 30.0),
            {"rows": [], "workers": 1, "queues": [{**ROUTE, "workers": 1}], "sessions": [[[*ROUTE.values()]]]},
        )
    ],
    "workers": lambda _: [(Workers(), Workers(), {"sessions": [[[*ROUTE.values()]]]})],
    "workflows": lambda _: [(Workflows(), Workflows(FLOW), {"routes": []})],
    "why": lambda o: [(Why(o.ids), Why(o.ids), {"runs": []})],
    "session_open": lambda o: [(OpenSession(o.session, "w", []), OpenSession(o.session, "w", []), {"alive": False})],
    "session_renew": lambda o: [
        (RenewSession(o.session, []), RenewSession(o.session, []), {"alive": False}),
        (RenewSession(o.session, []), RenewSession(o.stranger, []), {"alive": True}),
    ],
    "session_close": lambda o: [(OpenSession(o.session, "w", []), CloseSession(o.session), {"alive": False})],
    "claim": lambda o: [
        (Page(o.ids[0], 0), Claim(o.session, o.claim_id, [(FLOW, "1.0")], 9), {"alive": False}),
        (Page(o.ids[0], 0), Claim(o.stranger, o.claim_id, [(FLOW, "1.0"), ("flow", "1.0")], 9), {}),
    ],
    "record": lambda o: [
        (Record([unit(o.running.fence, 0, RECORDED)]), Record([forged]), {"units": [to_builtins(FENCED)]})
        for forged in (
            unit(o.running.fence, 0, RECORDED),
            unit(o.running.fence, 1, entry("b")),
            unit(o.running.fence, end=completed()),
            unit(Fence(o.blocked, 1, o.claim_id), end=End(Move.RELEASE)),
            replace(unit(o.running.fence, 1), starts=[start(workflow=FLOW)]),
            replace(unit(o.running.fence, 1), stops=[StopOp(new_id(), o.queued.id)]),
        )
    ],
    "page": lambda o: [(Page(run_id, 0), Page(run_id, 0), NOT_FOUND) for run_id in o.ids],
    "inbox": lambda o: [(Page(run_id, 0), Inbox(run_id, 0), NOT_FOUND) for run_id in o.ids],
    "send": lambda o: [
        (Page(run_id, 0), Send([Sent(run_id, new_id(), "go", NULL)]), {"outcomes": [UNKNOWN[0] | {"message": message}]})
        for run_id in o.ids
        for message in [f"there is no run '{run_id}' in namespace {THEIRS!r}: {GONE}"]
    ],
}


def test_every_operation_has_its_row() -> None:
    assert set(ROWS) == set(OPS)


@pytest.mark.parametrize("op", sorted(OPS))
async def test_no_operation_reaches_into_another_namespace(app: App, bus: Connection, ours: Ours, op: str) -> None:
    for mine, foreign, expected in ROWS[op](ours):
        before = await ours.rows()
        alone = await ask_together(app, bus, (THEIRS, foreign))
        assert await ours.rows() == before
        _, *shared = await ask_together(app, bus, *[(OURS, mine), (THEIRS, foreign)] * 4)
        for reply in (*alone, *shared[::2]):
            assert told(reply) == expected
            assert SECRET.encode() not in reply.replace(b"secret-flow", b"")


UNTOLD = {"now", "ttl", "tables", "sampled", "population"}


def told(reply: bytes) -> object:
    """Return what a reply says: an error's code, or the answer without times, and without what is of all namespaces."""
    answer = json.loads(reply)
    if "error" in answer:
        return answer["error"]["code"]
    (run,) = answer["ok"].get("runs") or [{}]
    if "error" in run:
        return run["error"]["code"]
    if "sessions" in answer["ok"]:
        answer["ok"]["sessions"] = [session["routes"] for session in answer["ok"]["sessions"]]
    return {name: value for name, value in answer["ok"].items() if name not in UNTOLD}


async def test_a_key_of_another_namespace_is_free(app: App, bus: Connection, ours: Ours) -> None:
    again, first = (Enqueue([replace(ours.queued, id=new_id())]) for _ in range(2))
    known, free = await ask_together(app, bus, (OURS, again), (THEIRS, first))
    assert json.loads(known)["ok"]["runs"] == [{"id": ours.queued.id, "created": False}]
    assert json.loads(free)["ok"]["runs"] == [{"id": first.runs[0].id}]


async def test_a_watcher_hears_nothing_of_another_namespaces_runs(app: App, bus: Connection, ours: Ours) -> None:
    heard = await bus.subscribe("_INBOX.stranger")
    own = await bus.subscribe("_INBOX.own")
    run_id = ours.running.fence.run_id
    await ask_together(
        app,
        bus,
        (THEIRS, Watch(ours.ids, "_INBOX.stranger", 30.0, ends_only=False)),
        (THEIRS, Enqueue([new_run(id=run_id)], "_INBOX.stranger")),
        (OURS, Watch([run_id], "_INBOX.own", 30.0)),
    )
    await ask_together(app, bus, (OURS, Record([unit(ours.running.fence, 1, end=completed())])))
    await wait_until(lambda: own.pending_msgs)
    assert heard.pending_msgs == 0


def test_consumers_are_made_for_each_namespace_in_turn() -> None:
    routes = [("a", str(number), "1") for number in range(3)] + [("b", "0", "1"), ("c", "0", "1"), ("c", "1", "1")]
    assert [route[0] for route in _in_turn(routes)] == ["a", "b", "c", "a", "c", "a"]


async def test_routes_beyond_what_jetstream_takes_keep_back_no_hints_of_others(
    database: str, make_nats: Callable[[], Nats]
) -> None:
    """A server may have room for a thousand consumers; a stranger's worker may name more routes."""
    server = make_nats()
    bus = await connect(server.url)
    async with running_app(database, server.url) as app:
        run = new_run()
        await ask_together(app, bus, (OURS, Enqueue([run])))
        crowd = [Route(f"w{number}", "1") for number in range(1_050)]
        await ask_together(app, bus, (THEIRS, OpenSession(new_id(), "w", crowd)))

        await wait_until(lambda: len(app.offerer._routes) > len(crowd) and not app.offerer._without_consumer, 20)
        await bus.jsm().purge_stream(HINT_STREAM)

        async def offered_again() -> Any:
            return (await bus.jsm().stream_info(HINT_STREAM)).state.messages

        await wait_until(offered_again)
    await bus.close()
