"""Imported runs are looked at, and nothing moves them: each door of the daemon is tried."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, get_args, get_type_hints

import pytest
from msgspec import Raw
from msgspec.structs import replace
from nats import connect
from nats.aio.client import Client as Connection

from aiki.core.errors import AikiError
from aiki.core.states import TERMINAL, State
from aiki.wire.codec import encode
from aiki.wire.messages import (
    NONE,
    ApplyRetention,
    ApplySchedules,
    Arrival,
    BackfillSchedule,
    Cancel,
    ChildEnd,
    Claim,
    CloseSession,
    Delete,
    Enqueue,
    Entry,
    Export,
    Find,
    Follow,
    FollowNamespace,
    History,
    Import,
    ImportedArrival,
    ImportedMove,
    ImportedRun,
    ImportedTry,
    ImportReply,
    Inbox,
    Input,
    ListRuns,
    ListSchedules,
    MoveRuns,
    NextSlots,
    OpenSession,
    OrderSchedules,
    Page,
    Pause,
    PutSchedule,
    ReadRetention,
    Record,
    RenewSession,
    Resume,
    Retry,
    Route,
    Seen,
    Send,
    ShowSchedule,
    Status,
    Storage,
    Summary,
    TriggerSchedule,
    Wake,
    Watch,
    Why,
    Workers,
    Workflows,
)
from aikid.app import App
from aikid.engine import arrivals, exports, imports
from aikid.ops import OPS
from aikid.store import deleting
from tests.integration.daemon.asking import ask_together, running_app
from tests.integration.daemon.engine import (
    Engine,
    completed,
    entry,
    event,
    new_id,
    new_run,
    op,
    running_engine,
    unit,
)
from tests.integration.daemon.firing import declared
from tests.servers import Nats

pytestmark = pytest.mark.anyio

AT = 1_767_225_600_000_000


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    async with running_engine(database) as one:
        yield one


@pytest.fixture
async def app(database: str, nats: Nats, anyio_backend: str) -> AsyncIterator[App]:
    async with running_app(database, nats.url) as made:
        yield made


@pytest.fixture
async def bus(nats: Nats, anyio_backend: str) -> AsyncIterator[Connection]:
    connection = await connect(nats.url)
    yield connection
    await connection.close()


def brought(state: State = State.WAITING, **fields: Any) -> Import:
    """Return a whole run as one part."""
    run_id = fields.pop("id", new_id())
    finished_at = AT if state in TERMINAL else None
    known: dict[str, Any] = {"key": "order-1", "labels": {"tenant": "a"}, "claims": 2, "news": 3, "entries": 1}
    run = ImportedRun(
        run_id, "flow", "1.0", state, Raw(b'{"a":1}'), run_id, AT, AT + 5, **(known | {"finished_at": finished_at})
    )
    part = Import(
        run_id,
        "shop",
        AT + 9,
        "ada@home",
        replace(run, **{name: value for name, value in fields.items() if name in run.__struct_fields__}),
        output=Raw(b'"done"') if state is State.COMPLETED else NONE,
        entries=[entry()],
        tries=[ImportedTry("task:b:0:0", 1, Raw(b'{"type":"E","message":"m"}'), AT, at=AT, epoch=1, length=1)],
        ends=[ImportedArrival(1, AT, "child", new_id(), Raw(encode(ChildEnd(new_id(), State.COMPLETED, Raw(b"1")))))],
        unread=[ImportedArrival(3, AT, "event", "approved", Raw(b'"yes"'), new_id())],
        moves=[ImportedMove(1, AT, "claim", None, "w", 0), ImportedMove(2, AT, "wait", None, None, 1)],
        last=True,
    )
    return replace(part, **{name: value for name, value in fields.items() if name not in run.__struct_fields__})


async def take(engine: Engine, *parts: Import) -> list[str]:
    results: list[str] = []
    for part in parts:
        (reply,) = (await imports.take(engine.pool, engine.namespace, part, room=engine.room)).replies
        if isinstance(reply, AikiError):
            raise reply
        assert isinstance(reply, ImportReply)
        results.append(reply.result)
    return results


async def rows(engine: Engine, run_id: str) -> list[list[tuple[Any, ...]]]:
    """Return all that stands in the database of a run."""
    tables = ("journal", "attempts", "run_history", "inbox", "listing", "labels", "ended", "deadlines", "errands")
    found = [
        await engine.execute(f"SELECT x::text FROM aiki.{table} x WHERE x.run_id = %s ORDER BY 1", run_id)
        for table in tables
    ]
    return [await engine.execute("SELECT r::text FROM aiki.runs r WHERE r.id = %s", run_id), *found]


async def test_an_imported_run_says_where_it_comes_from_and_what_it_was(engine: Engine) -> None:
    part = brought(why="it waits for a word")
    assert await take(engine, part) == ["stored"]
    status = await engine.status(part.id)
    assert (status.state, status.key, status.labels) == (State.PAUSED, "order-1", {"tenant": "a"})
    assert status.why == "imported from namespace 'shop', where it was waiting: it waits for a word"
    assert (status.tasks, status.unread, status.claims, status.created_at) == (1, 1, 2, AT)
    assert status.imported is not None
    assert (status.imported.namespace, status.imported.state, status.imported.actor) == (
        *("shop", State.WAITING),
        "ada@home",
    )
    assert not status.imported.is_partial


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_one_that_has_ended_keeps_its_state(engine: Engine, state: State) -> None:
    part = brought(state)
    assert await take(engine, part) == ["stored"]
    status = await engine.status(part.id)
    assert (status.state, status.finished_at) == (state, AT)
    assert bytes(status.output) == (b'"done"' if state is State.COMPLETED else b"")


async def test_what_is_exported_again_is_what_was_imported(engine: Engine) -> None:
    part = brought(generation=2, first_at=AT - 7, parent=new_id(), depth=3, priority=4, attempt=2, suspect=True)
    await take(engine, part)
    (one,) = (await exports.export(engine.pool, engine.namespace, Export([part.id]), room=engine.room)).runs
    run, was = one.run, part.run
    assert was is not None
    assert (one.state, one.created_at, bytes(run.input)) == (State.WAITING, AT, b'{"a":1}')
    for name in ("origin_id", "workflow", "version", "started_at", "claims", "key", "labels", "generation", "first_at"):
        assert getattr(run, name) == getattr(was, name), name
    for name in ("parent", "depth", "priority", "attempt", "suspect", "news"):
        assert getattr(run, name) == getattr(was, name), name
    assert run.entries == [entry()]
    assert [(one.key, one.attempt) for one in run.attempts] == [("task:b:0:0", 1)]
    assert [(one.number, one.name, bytes(one.value)) for one in run.arrivals] == [(3, "approved", b'"yes"')]


async def test_a_repeat_changes_nothing_and_an_id_of_a_run_is_taken(engine: Engine) -> None:
    part = brought()
    await take(engine, part)
    before = await rows(engine, part.id)
    assert await take(engine, part, replace(part, exported_at=1)) == ["exists", "exists"]
    assert await rows(engine, part.id) == before
    real = await engine.queued_run()
    before = await rows(engine, real)
    assert await take(engine, brought(id=real)) == ["taken"]
    assert await rows(engine, real) == before


async def test_a_run_that_came_in_parts_is_whole_with_the_last(engine: Engine) -> None:
    whole = brought(entries=3)
    assert whole.run is not None
    first = replace(whole, entries=[entry("a"), entry("b")], unread=[], moves=[], last=False)
    last = replace(whole, run=None, base=2, entries=[entry("c")], ends=[], tries=[])
    first.run = replace(whole.run, entries=3)
    assert await take(engine, first) == ["stored"]
    status = await engine.status(whole.id)
    assert status.state is State.PAUSED
    assert status.why is not None
    assert "import it again" in status.why
    assert await take(engine, replace(first, exported_at=1)) == ["other"]
    assert await take(engine, replace(last, base=3)) == ["missing"]
    assert await take(engine, first, last, last) == ["stored", "stored", "exists"]
    status = await engine.status(whole.id)
    assert (status.tasks, status.unread, status.imported and status.imported.is_partial) == (3, 1, False)
    assert len(await engine.journal(whole.id)) == 3


async def test_it_stands_in_lists_and_counts(app: App, bus: Connection) -> None:
    waiting, failed = brought(), brought(State.FAILED)
    await ask_together(app, bus, ("default", waiting), ("default", failed))
    listed, paused, labelled, summary = await ask_together(
        app,
        bus,
        ("default", ListRuns()),
        ("default", ListRuns(states=[State.PAUSED], workflow="flow")),
        ("default", ListRuns(labels={"tenant": "a"})),
        ("default", Summary()),
    )
    assert {run["id"] for run in json.loads(listed)["ok"]["runs"]} == {waiting.id, failed.id}
    assert [run["id"] for run in json.loads(paused)["ok"]["runs"]] == [waiting.id]
    assert len(json.loads(labelled)["ok"]["runs"]) == 2
    rows = json.loads(summary)["ok"]["rows"]
    assert {(row["state"], row["runs"]) for row in rows} == {("paused", 1), ("failed", 1)}


async def test_its_story_is_that_of_where_it_comes_from_and_how_it_came(app: App, bus: Connection) -> None:
    part = brought()
    await ask_together(app, bus, ("default", part))
    (reply,) = await ask_together(app, bus, ("default", History(part.id)))
    items = json.loads(reply)["ok"]["items"]
    assert [item["move"] for item in items] == ["enqueued", "claim", "entry", "attempt", "wait", "imported", "event"]
    assert items[-2]["actor"] == "ada@home"
    assert items[-2]["reason"] == "from namespace 'shop', where it was waiting"


async def test_of_its_children_it_knows_what_they_came_to(engine: Engine) -> None:
    part = brought(State.COMPLETED)
    await take(engine, part)
    request = Inbox(part.id, ends=True, ended=True)
    reply = await arrivals.inbox(engine.pool, engine.namespace, request, room=engine.room)
    assert [json.loads(bytes(one.value))["output"] for one in reply.arrivals] == [1]


# -- doors

DOORS: dict[str, Any] = {
    # By operation: what is asked about the run, and what the answer says of it; None where it says nothing.
    "enqueue": lambda run_id, _: (Enqueue([new_run(id=run_id, input=Raw(b'{"a":1}'))]), None),
    "status": lambda run_id, _: (Status([run_id]), run_id),
    "watch": lambda run_id, _: (Watch([run_id], "_INBOX.x", 5.0), run_id),
    "follow": lambda run_id, _: (Follow([Seen(run_id)], "_INBOX.x", 5.0), run_id),
    "follow_namespace": lambda *_: (FollowNamespace("_INBOX.x", 5.0), "flow"),
    "find": lambda run_id, _: (Find(run_id), run_id),
    "list": lambda run_id, _: (ListRuns(), run_id),
    "history": lambda run_id, _: (History(run_id), "imported"),
    "input": lambda run_id, _: (Input(run_id), '"a":1'),
    "export": lambda run_id, _: (Export([run_id]), run_id),
    "import": lambda run_id, _: (brought(id=run_id), "exists"),
    "page": lambda run_id, _: (Page(run_id), "task:a"),
    "inbox": lambda run_id, _: (Inbox(run_id, ended=True), "approved"),
    "pause": lambda run_id, _: (Pause([run_id]), "imported"),
    "resume": lambda run_id, _: (Resume([run_id]), "imported"),
    "cancel": lambda run_id, _: (Cancel([run_id]), "imported"),
    "wake": lambda run_id, _: (Wake([run_id], id=new_id()), "imported"),
    "retry": lambda run_id, _: (Retry([run_id]), "imported"),
    "move": lambda run_id, _: (MoveRuns([run_id], "2.0", force=True), "imported|too_late"),
    "why": lambda run_id, _: (Why([run_id]), None),
    "storage": lambda *_: (Storage(), None),
    "retention": lambda *_: (ReadRetention(), None),
    "retention_apply": lambda *_: (ApplyRetention("shop", []), None),
    "send": lambda run_id, _: (Send([event(run_id)]), "imported"),
    "record": lambda run_id, held: (Record([held]), "done"),
    "claim": lambda run_id, held: (Claim(held.session, "c2", [("flow", "1.0")], 9), None),
    "session_open": lambda run_id, held: (OpenSession(new_id(), "w", [Route("flow", "1.0")]), None),
    "session_renew": lambda run_id, held: (RenewSession(held.session, []), None),
    "session_close": lambda run_id, held: (CloseSession(held.session), None),
    "summary": lambda *_: (Summary(), "flow"),
    "workers": lambda *_: (Workers(), None),
    "workflows": lambda *_: (Workflows(), None),
    "schedule_put": lambda *_: (PutSchedule(declared()), None),
    "schedule_apply": lambda *_: (ApplySchedules("shop", []), None),
    "schedule_order": lambda *_: (OrderSchedules(["x"], "resume"), None),
    "schedule_trigger": lambda *_: (TriggerSchedule("x", new_id()), None),
    "schedule_backfill": lambda *_: (BackfillSchedule("x", 0, 1), None),
    "schedule_list": lambda *_: (ListSchedules(), None),
    "schedule_show": lambda *_: (ShowSchedule("x"), None),
    "schedule_next": lambda *_: (NextSlots("x"), None),
}
TAKES_AWAY = frozenset({"delete"})
"""Whoever has imported a run may delete it."""


def test_every_operation_is_a_door() -> None:
    assert set(OPS) - TAKES_AWAY == set(DOORS)


class Held:
    """A session, and a run that it holds, which sends to the imported one."""

    def __init__(self, session: str, sending: Any) -> None:
        self.session = session
        self.sending = sending


STATES = (State.WAITING, State.QUEUED, State.RUNNING, State.FAILED, State.COMPLETED)


@pytest.mark.parametrize("door", sorted(DOORS))
async def test_no_operation_moves_an_imported_run(app: App, bus: Connection, engine: Engine, door: str) -> None:
    parts = [brought(state) for state in STATES]
    await take(engine, *parts)
    session = await engine.session()
    await engine.queued_run()
    claimed = await engine.claim_one(session)
    before = [await rows(engine, part.id) for part in parts]
    for part in parts:
        sending = replace(unit(claimed.fence, 0), ops=[op(part.id)])
        request, words = DOORS[door](part.id, sending if door == "record" else Held(session, sending))
        (reply,) = await ask_together(app, bus, ("default", request))
        if words is not None:
            answer = json.loads(reply)
            assert "ok" in answer, answer
            assert any(word in json.dumps(answer, separators=(",", ":")) for word in words.split("|"))
    assert [await rows(engine, part.id) for part in parts] == before


async def test_no_loop_meets_an_imported_run(engine: Engine) -> None:
    parts = [brought(state) for state in State]
    await take(engine, *parts)
    before = [await rows(engine, part.id) for part in parts]
    session = await engine.session()
    assert await engine.claim(session, limit=100) == []
    await engine.close(session)
    assert await engine.wake() == []
    assert await engine.pass_deadlines() == {}
    assert await engine.rescue() == []
    assert [await rows(engine, part.id) for part in parts] == before


async def test_a_child_that_ends_tells_no_imported_parent(engine: Engine) -> None:
    parent = brought()
    run_id = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET parent_id = %s, parent_generation = 0 WHERE id = %s", parent.id, run_id)
    await take(engine, parent)
    before = await rows(engine, parent.id)
    claimed = await engine.claim_one()
    end = replace(completed(), parent=True)
    assert await engine.results(unit(claimed.fence, end=end)) == ["done"]
    assert await rows(engine, parent.id) == before


async def test_whoever_has_imported_a_run_may_delete_it(app: App, bus: Connection, engine: Engine) -> None:
    ended, waiting = brought(State.FAILED), brought()
    await take(engine, ended, waiting)
    for part in (ended, waiting):
        (reply,) = await ask_together(app, bus, ("default", Delete([part.id])))
        assert [one["result"] for one in json.loads(reply)["ok"]["outcomes"]] == ["done"]
        assert not any(await rows(engine, part.id))
    assert await take(engine, waiting) == ["stored"], "and it may be imported anew"


@pytest.mark.parametrize("state", [State.COMPLETED, State.WAITING])
async def test_it_is_of_no_origin_that_is_here(database: str, engine: Engine, state: State) -> None:
    """Its file says what it was a retry of: by that it would take along, or send to, what is another namespace's."""
    async with running_engine(database, "neighbour") as neighbour:
        await neighbour.queued_run()
        theirs = (await neighbour.claim_one()).fence
        assert await neighbour.results(unit(theirs, end=completed())) == ["done"]
    part = brought(state, origin_id=theirs.run_id)
    await take(engine, part)
    assert (await engine.status(part.id)).origin_id == theirs.run_id
    (one,) = (await exports.export(engine.pool, engine.namespace, Export([part.id]), room=engine.room)).runs
    assert one.run.origin_id == theirs.run_id
    before = await rows(engine, theirs.run_id)
    deleted = await engine.pool.run(lambda c: deleting.delete_runs(c, [part.id], key_seconds=0))
    assert deleted.gone == [part.id]
    assert await rows(engine, theirs.run_id) == before


async def test_whatever_has_come_to_a_run_is_imported_with_it(app: App, bus: Connection, engine: Engine) -> None:
    kinds = get_args(get_type_hints(Arrival)["kind"])
    unread = [ImportedArrival(n, AT, kind, "task:charge@k", Raw(b"null")) for n, kind in enumerate(kinds, 3)]
    part = brought(unread=[one for one in unread if one.kind != "child"])
    (reply,) = await ask_together(app, bus, ("default", part))
    assert json.loads(reply)["ok"]["result"] == "stored"
    (one,) = (await exports.export(engine.pool, engine.namespace, Export([part.id]), room=engine.room)).runs
    assert {came.kind for came in one.run.arrivals} == set(kinds) - {"child"}


async def test_it_holds_no_key(engine: Engine) -> None:
    await take(engine, brought())
    run = new_run(key="order-1", digest="0" * 32)
    (made,) = await engine.enqueue(run)
    assert (made.id, made.created) == (run.id, True)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"namespace": ""}, "namespace"),
    ({"namespace": "a\0"}, "namespace"),
    ({"actor": "\0"}, "actor"),
    ({"exported_at": -1}, "time"),
    ({"base": -1}, "at most"),
    ({"base": 1 << 40}, "at most"),
    ({"entries": [replace(entry(), key="")]}, "bad key"),
    ({"entries": [Entry("task:a:0:0", True, Raw(b"[" * 300 + b"]" * 300), 1)]}, "nested"),
    ({"tries": [ImportedTry("k", -1)]}, "bad key or number"),
    ({"tries": [ImportedTry("k", 1, epoch=-1)]}, "out of range"),
    ({"unread": [ImportedArrival(-1, 1, "event")]}, "bad number"),
    ({"unread": [ImportedArrival(1, 1, "event", "a\0")]}, "bad number"),
    ({"unread": [ImportedArrival(1, 1, "event", "a", id="x")]}, "bad number"),
    ({"ends": [ImportedArrival(1, -1, "child")]}, "time"),
    ({"moves": [ImportedMove(1, 1, "a b")]}, "bad number or move"),
    ({"moves": [ImportedMove(1, 1, "claim", "\0")]}, "NUL"),
    ({"output": Raw(b"1e999")}, "no client can read"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
async def test_what_can_be_no_part_is_refused_and_nothing_is_written(
    engine: Engine, change: dict[str, Any], words: str
) -> None:
    part = brought()
    with pytest.raises(AikiError, match=words):
        await take(engine, replace(part, **change))
    assert await engine.execute("SELECT FROM aiki.runs") == []
    assert len(encode(part)) < 3_000
