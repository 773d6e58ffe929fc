"""Requests over NATS: each gets an answer, whatever it holds, and the daemon lives on."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from nats.aio.client import Client

from aiki.core.errors import NotFound, UsageError
from aiki.core.states import Move, State
from aiki.transport import Transport
from aiki.wire import codec, subjects
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Claim,
    CloseSession,
    End,
    Enqueue,
    Find,
    History,
    Input,
    ListRuns,
    OpenSession,
    Page,
    Pause,
    Record,
    RenewSession,
    Request,
    Resume,
    Route,
    RunNews,
    RunStatus,
    Status,
    Summary,
    Watch,
    Workflows,
)
from aikid.ops import OPS
from tests.integration.daemon.engine import completed, entry, new_id, new_run, unit
from tests.servers import Aikid
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

SOME_ID = "01a22985-0000-7000-8000-000000000000"
"""The same whoever collects the tests."""


@pytest.fixture
async def transport(aikid: Aikid, namespace: str) -> AsyncIterator[Transport]:
    connection = await Transport.connect(aikid.nats_url, namespace=namespace)
    yield connection
    await connection.close()


@pytest.fixture
async def connection(aikid: Aikid) -> AsyncIterator[Client]:
    client = await nats.connect(aikid.nats_url)
    yield client
    await client.close()


async def open_session(transport: Transport, *routes: Route) -> str:
    session = str(uuid.uuid4())
    reply = await transport.call(OpenSession(session, "worker-1", list(routes) or [Route("flow", "1.0")]))
    assert reply.alive
    return session


async def ask(connection: Client, namespace: str, op: str, data: bytes) -> dict[str, Any]:
    message = await connection.request(subjects.api(namespace, op), data, timeout=patient(5))
    reply: dict[str, Any] = json.loads(message.data)
    return reply


@pytest.mark.parametrize("op", sorted(OPS))
@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"ids": 5, "runs": 5, "units": 5}', b"[" * 100_000, b'{"id": "\xff"}'],
)
async def test_a_malformed_request_is_answered_with_an_error(
    connection: Client, namespace: str, op: str, data: bytes
) -> None:
    reply = await ask(connection, namespace, op, data)
    if op in ("list", "retention", "schedule_list", "storage", "summary", "workers", "workflows") and data.startswith(
        b'{"'
    ):
        # Nothing is required here, and fields that nobody knows are ignored.
        assert "ok" in reply
    else:
        assert reply["error"]["code"] in ("usage", "payload")


async def test_an_oversized_request_is_answered_with_an_error(connection: Client, namespace: str) -> None:
    reply = await ask(connection, namespace, "enqueue", b" " * (MESSAGE_BYTES + 1))
    assert reply["error"]["code"] == "payload"


async def test_an_unknown_request_is_unsupported(connection: Client, namespace: str) -> None:
    assert (await ask(connection, namespace, "teleport", b"{}"))["error"]["code"] == "unsupported"


async def test_a_bad_namespace_is_refused(connection: Client) -> None:
    assert (await ask(connection, "caf\u00e9", "summary", b"{}"))["error"]["code"] == "usage"


async def test_the_daemon_replies_to_inboxes_only(connection: Client, namespace: str) -> None:
    heard = await connection.subscribe("victim.>")
    await connection.publish(subjects.api(namespace, "summary"), b"{}", reply="victim.subject")
    await connection.publish(subjects.api(namespace, "summary"), b"{}")
    assert "ok" in await ask(connection, namespace, "summary", b"{}")
    assert heard.pending_msgs == 0
    watch = {"ids": [new_id()], "inbox": "victim.subject", "seconds": 5}
    assert (await ask(connection, namespace, "watch", json.dumps(watch).encode()))["error"]["code"] == "usage"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(max_size=40) | st.sampled_from(["\0", "0" * 36, str(uuid.UUID(int=7)), "a@b", "%", "ffffffff"])
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 100])
FIELDS: dict[str, Any] = {
    "id": TEXT,
    "ids": st.lists(TEXT, max_size=3),
    "inbox": st.sampled_from(["_INBOX.x", "a b", ""]),
    "seconds": st.floats(allow_nan=False, allow_infinity=False),
    "reference": TEXT,
    "states": st.lists(st.sampled_from(list(State)), max_size=2),
    "workflow": TEXT,
    "labels": st.dictionaries(TEXT, TEXT, max_size=2),
    "since": NUMBER,
    "limit": NUMBER,
    "cursor": TEXT,
    "actor": TEXT,
    "session": TEXT,
    "claim_id": TEXT,
    "routes": st.lists(st.tuples(TEXT, TEXT), max_size=2),
    "worker": TEXT,
    "ttl": st.floats(allow_nan=False, allow_infinity=False),
    "held": st.lists(TEXT, max_size=3),
    "run_id": TEXT,
    "after": NUMBER,
    "runs": st.lists(
        st.fixed_dictionaries(
            {"id": TEXT, "workflow": TEXT, "version": TEXT, "input": JSON},
            optional={
                "digest": TEXT,
                "options": st.fixed_dictionaries(
                    {}, optional={"key": TEXT, "priority": NUMBER, "start_at": NUMBER, "delay": NUMBER}
                ),
            },
        ),
        max_size=3,
    ),
    "units": st.lists(
        st.tuples(
            st.tuples(TEXT, NUMBER, TEXT),
            NUMBER,
            st.lists(st.tuples(TEXT, st.booleans(), JSON, NUMBER, st.none() | NUMBER), max_size=2),
            st.lists(st.tuples(TEXT, NUMBER, JSON, st.none() | NUMBER), max_size=2),
            st.none() | st.fixed_dictionaries({"move": st.sampled_from(list(Move))}, optional={"due_at": NUMBER}),
        ),
        max_size=2,
    ),
}


@pytest.mark.parametrize("op", sorted(OPS))
def test_any_values_of_the_right_shape_are_answered(aikid: Aikid, op: str) -> None:
    """No value reaches Postgres that makes a statement fail in a way that nobody foresaw."""
    fields = {field: FIELDS[field] for field in OPS[op].request.__struct_fields__ if field in FIELDS}

    with asyncio.Runner() as runner:
        connection = runner.run(nats.connect(aikid.nats_url))

        @settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(st.fixed_dictionaries({}, optional=fields) | st.fixed_dictionaries(fields))
        def answered(request: dict[str, Any]) -> None:
            reply = runner.run(ask(connection, "fuzz", op, json.dumps(request).encode("utf-8", "replace")))
            assert reply.get("error", {}).get("code") not in ("internal", "unavailable"), (request, reply)

        answered()
        runner.run(connection.close())


async def test_a_route_that_is_named_twice_is_one_if_both_are_equal(transport: Transport) -> None:
    route = Route("flow", "1.0", Raw(b'{"type":"object"}'), ["a"])
    session = await open_session(transport, route, Route("flow", "1.0", Raw(b'{"type":"object"}'), ["a"]))
    (known,) = (await transport.call(Workflows())).routes
    assert known.live
    for other in (Route("flow", "1.0"), Route("flow", "1.0", route.parameters, ["b"])):
        with pytest.raises(UsageError, match="named twice"):
            await open_session(transport, route, other)
    run = new_run()
    await transport.call(Enqueue([run]))
    reply = await transport.call(Claim(session, "c", [("flow", "1.0")] * 2_000, 5), repeat=False)
    assert [claimed.fence.run_id for claimed in reply.runs] == [run.id]


async def test_a_run_goes_from_enqueue_to_its_result(transport: Transport) -> None:
    news: list[RunNews] = []
    inbox = await transport.inbox(lambda data: news.append(codec.decoder(RunNews).decode(data)))
    session = await open_session(transport)
    run = new_run(labels={"tenant": "a"}, priority=3)
    assert (await transport.call(Enqueue([run]))).runs[0].created
    (watched,) = (await transport.call(Watch([run.id], inbox, 30.0))).runs
    assert (watched.state, watched.labels) == (State.QUEUED, {"tenant": "a"})
    (claimed,) = (await transport.call(Claim(session, "claim-1", [("flow", "1.0")], 5), repeat=False)).runs
    (status,) = (await transport.call(Status([run.id]))).runs
    assert (status.state, status.worker, status.claims) == (State.RUNNING, "worker-1", 1)
    assert (await transport.call(RenewSession(session, ["claim-1"]))).alive
    last = unit(claimed.fence, 0, entry("a"), entry("b"), end=completed(b'{"sum": 3}'))
    assert [one.result for one in (await transport.call(Record([last]))).units] == ["done"]
    await wait_until(lambda: news)
    (pushed,), (read,) = news[0].runs, (await transport.call(Status([run.id]))).runs
    assert _plain(pushed) == _plain(read)
    assert (read.state, read.tasks, bytes(read.output)) == (State.COMPLETED, 2, b'{"sum":3}') or read.tasks == 2
    assert bytes((await transport.call(Input(run.id))).input) == b"{}"
    assert (await transport.call(CloseSession(session))).alive is False


def _plain(status: RunStatus) -> object:
    return json.loads(codec.encode(status))


async def test_a_watcher_of_all_changes_hears_each(transport: Transport) -> None:
    states: list[State] = []
    inbox = await transport.inbox(
        lambda data: states.extend(run.state for run in codec.decoder(RunNews).decode(data).runs)
    )
    session = await open_session(transport)
    run = new_run()
    await transport.call(Enqueue([run]))
    await transport.call(Watch([run.id], inbox, 30.0, ends_only=False))
    for end in (End(Move.SLEEP, due_at=1), completed()):
        await wait_until(lambda: not states or states[-1] is State.QUEUED)
        (claimed,) = (await transport.call(Claim(session, uuid.uuid4().hex, [("flow", "1.0")], 5), repeat=False)).runs
        # What is told is read after the claim was answered: a record that is faster would be told in its place.
        await wait_until(lambda: states and states[-1] is State.RUNNING)
        await transport.call(Record([unit(claimed.fence, end=end)]))
    await wait_until(lambda: State.COMPLETED in states)
    assert states == [State.RUNNING, State.SLEEPING, State.QUEUED, State.RUNNING, State.COMPLETED]


async def test_references_find_runs(transport: Transport) -> None:
    one, two = new_run(key="order-1", digest="0" * 32), new_run()
    await transport.call(Enqueue([one, two]))
    for reference in (one.id, one.id.upper(), one.id.replace("-", ""), one.id[:-2], one.id[-12:], "flow@order-1"):
        assert (await transport.call(Find(reference))).ids == [one.id]
    assert set((await transport.call(Find(one.id[:8]))).ids) >= {one.id}
    assert (await transport.call(Find("flow@other"))).ids == []
    with pytest.raises(UsageError):
        await transport.call(Find("1234567"))


async def test_lists_are_filtered_and_paged(transport: Transport) -> None:
    runs = [new_run(labels={"n": str(n % 2)}, workflow=f"flow-{n % 3}") for n in range(12)]
    await transport.call(Enqueue(runs))
    ids = [run.id for run in reversed(runs)]
    found: list[str] = []
    cursor = None
    while True:
        page = await transport.call(ListRuns(limit=5, cursor=cursor))
        found += [run.id for run in page.runs]
        if (cursor := page.cursor) is None:
            break
    assert found == ids
    assert all(run.why == f"no live worker serves {run.workflow} 1.0" for run in page.runs)
    for request, count in (
        (ListRuns(labels={"n": "1"}), 6),
        (ListRuns(workflow="flow-1"), 4),
        (ListRuns(workflow="flow-1", labels={"n": "1"}), 2),
        (ListRuns(states=[State.FAILED]), 0),
        (ListRuns(states=[State.QUEUED, State.FAILED]), 12),
        (ListRuns(since=4_000_000_000_000_000), 0),
    ):
        assert len((await transport.call(request)).runs) == count


async def test_a_list_goes_by_the_databases_clock_and_not_by_the_callers(transport: Transport) -> None:
    """A client's clock is in its ids: one that is a day behind, or ahead, would hide its runs or others'."""
    runs = [new_run(id=new_id(hours=hours)) for hours in (0, 24, -24, 0, -24, 24)]
    for run in runs:
        await transport.call(Enqueue([run]))
    newest_first = [run.id for run in reversed(runs)]
    first = await transport.call(ListRuns(limit=4))
    rest = await transport.call(ListRuns(limit=4, cursor=first.cursor))
    assert [run.id for run in first.runs + rest.runs] == newest_first
    since = first.runs[2].created_at
    assert [run.id for run in (await transport.call(ListRuns(since=since))).runs] == newest_first[:3]


@pytest.mark.parametrize("cursor", ["", "1", SOME_ID, f"1.{'f' * 36}", f"-1.{SOME_ID}", f"{10**17}.{SOME_ID}"])
async def test_a_cursor_of_nobody_is_refused(transport: Transport, cursor: str) -> None:
    with pytest.raises(UsageError):
        await transport.call(ListRuns(cursor=cursor))
    assert not (await transport.call(ListRuns(cursor=f"{10**16 - 1}.{new_id()}", since=-5))).runs


async def test_the_story_of_a_run_is_in_order(transport: Transport) -> None:
    session = await open_session(transport)
    run = new_run()
    await transport.call(Enqueue([run]))
    reply = await transport.call(Claim(session, "c1", [("flow", "1.0")], 1), repeat=False)
    (claimed,) = reply.runs
    outcome = entry("a", at=reply.now + 1)
    await transport.call(Record([unit(claimed.fence, 0, outcome)]))
    await transport.call(Record([unit(claimed.fence, 1, end=End(Move.DIVERGE, why="nondeterminism: a diff"))]))
    await transport.call(Resume([run.id], actor="alice"))
    items = (await transport.call(History(run.id))).items
    assert [item.move for item in items] == ["enqueued", "claim", "entry", "diverge", "resume"]
    assert [item.state for item in items] == [None, State.RUNNING, None, State.BLOCKED, State.QUEUED]
    assert (items[2].key, items[3].reason, items[4].actor) == ("task:a:0:0", "nondeterminism: a diff", "alice")
    assert [one.key for one in (await transport.call(Page(run.id, 0))).entries] == ["task:a:0:0"]
    assert (await transport.call(Page(run.id, 1))).entries == []


async def test_summary_and_workflows_tell_who_serves_what(transport: Transport) -> None:
    session = await open_session(transport, Route("flow", "1.0", Raw(b'{"type":"object"}'), ["charge"]))
    await transport.call(Enqueue([new_run(), new_run(), new_run(workflow="unserved")]))
    summary = await transport.call(Summary())
    assert summary.workers == 1
    assert [(row.workflow, row.state, row.runs) for row in summary.rows] == [
        ("flow", State.QUEUED, 2),
        ("unserved", State.QUEUED, 1),
    ]
    (route,) = (await transport.call(Workflows())).routes
    assert (route.workflow, route.live, route.task_names, bytes(route.parameters)) == (
        "flow",
        True,
        ["charge"],
        b'{"type":"object"}',
    )
    await transport.call(CloseSession(session))
    assert [route.live for route in (await transport.call(Workflows("flow"))).routes] == [False]


async def test_another_namespace_finds_nothing(transport: Transport, aikid: Aikid) -> None:
    run = new_run()
    await transport.call(Enqueue([run]))
    stranger = await Transport.connect(aikid.nats_url, namespace="stranger")
    assert (await stranger.call(Status([run.id]))).runs == []
    assert (await stranger.call(Find(run.id))).ids == []
    requests: list[Request[Any]] = [Input(run.id), History(run.id), Page(run.id, 0)]
    for request in requests:
        with pytest.raises(NotFound):
            await stranger.call(request)
    for order in (Pause([run.id]), Resume([run.id])):
        assert [one.result for one in (await stranger.call(order)).outcomes] == ["unknown"]
    (refused,) = (await stranger.call(Enqueue([new_run(id=run.id)]))).runs
    assert refused.error is not None
    assert refused.error.code == "conflict"
    await stranger.close()


async def test_a_reply_that_is_too_large_leaves_runs_out(transport: Transport) -> None:
    session = await open_session(transport)
    runs = [new_run() for _ in range(4)]
    await transport.call(Enqueue(runs))
    reply = await transport.call(Claim(session, "c1", [("flow", "1.0")], 4), repeat=False)
    large = b'"' + b"x" * 200_000 + b'"'
    for claimed in reply.runs:
        await transport.call(Record([unit(claimed.fence, end=completed(large))]))
    found: set[str] = set()
    missing = [run.id for run in runs]
    while missing:
        got = (await transport.call(Status(missing))).runs
        assert got
        found |= {run.id for run in got}
        missing = [run_id for run_id in missing if run_id not in found]
    assert len(found) == 4
