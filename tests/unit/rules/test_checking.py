"""What a request may hold is looked at before anything is queued or written, and refused in words."""

from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import PayloadError, UsageError
from aiki.core.states import Move
from aiki.rules.checking import MICROSECONDS_MAX, check_request, check_routes, check_send, check_unit
from aiki.wire.limits import CLAIM_RUNS, ENTRIES_HARD, MESSAGE_BYTES, NESTING, SAID_BYTES, UNREAD_EVENTS
from aiki.wire.messages import (
    UNDER_WAY,
    Attempt,
    Cancel,
    Claim,
    CloseSession,
    Delete,
    End,
    Entry,
    Fence,
    Find,
    History,
    Input,
    ListRuns,
    MoveRuns,
    OpenSession,
    Page,
    Pause,
    Record,
    RenewSession,
    Request,
    Resume,
    Route,
    SendOp,
    Sent,
    Status,
    Storage,
    Summary,
    Unit,
    Wake,
    Watch,
    Why,
    Workflows,
)

ID = "0190b0a0-0000-7000-8000-000000000001"
OF_AN_ANSWER = "0190b0a0-0000-8000-8000-000000000001"
OF_VERSION_4 = "0190b0a0-0000-4000-8000-000000000001"
ROUTES = [("flow", "1.0")]
FENCE = Fence(ID, 1, "claim-1")
VALUE = Raw(b'"value"')


def unit(fence: Fence = FENCE, base: int = 0, **fields: Any) -> Unit:
    return Unit(fence, base, fields.pop("entries", []), fields.pop("attempts", []), **fields)


GOOD: list[Request[Any]] = [
    Status([ID]),
    Watch([ID], "_INBOX.x", 1.0),
    Record([unit()]),
    Claim(ID, "claim-1", ROUTES, CLAIM_RUNS),
    OpenSession(ID, "worker-1", [], 0.5),
    RenewSession(ID, ["\0 is no claim's id, and so names none"]),
    CloseSession(ID),
    Pause([ID], "alice"),
    Resume([ID, ID]),
    Wake([ID], id=ID),
    MoveRuns([ID], "1.0", claims=[1]),
    Cancel([ID], "alice", "no longer needed"),
    Page(ID),
    Page(ID, tried_after=""),
    History(ID),
    Input(ID),
    Find("flow@key"),
    ListRuns(labels={"a": "b"}, since=-5),
    Delete([ID], "alice"),
    Storage(),
    Summary(),
    Workflows("flow"),
    Why([ID, ID]),
]
BAD: list[Request[Any]] = [
    Status([ID, ID.upper()]),
    Watch(["1"], "_INBOX.x", 1.0),
    Record([unit(), unit(base=1)]),
    Claim("1", "claim-1", ROUTES, 1),
    Claim(ID, "a b", ROUTES, 1),
    *(Claim(ID, "claim-1", ROUTES, limit) for limit in (0, CLAIM_RUNS + 1, -1)),
    Claim(ID, "claim-1", [("flow", "\0")], 1),
    OpenSession("1", "worker-1", []),
    OpenSession(ID, "", []),
    *(OpenSession(ID, "worker-1", [], ttl) for ttl in (0.4, 3601.0, float("nan"), float("inf"))),
    RenewSession("1", []),
    CloseSession(ID[:-1]),
    Pause(["1"]),
    Delete(["1"], preview=True),
    Delete([ID], "\0"),
    Resume([ID, "1"]),
    Wake([ID], id="1"),
    MoveRuns([ID], "1 0"),
    MoveRuns([ID], "1.0", claims=[1, 2]),
    MoveRuns(["1"], "1.0"),
    Wake([ID], id=OF_AN_ANSWER),
    Cancel(["1"]),
    Cancel([ID], reason="\0"),
    Resume([ID], "\0"),
    Page("1"),
    Page(ID, -1),
    Page(ID, tried_after="\0"),
    History("1"),
    Input("1"),
    Find("\0"),
    Find("1" * 513),
    ListRuns(labels={"a": "\0"}),
    ListRuns(workflow="\0"),
    ListRuns(since=1 << 62),
    Workflows("\0"),
    Why([ID, "1"]),
]


@pytest.mark.parametrize("request_", GOOD, ids=repr)
def test_a_request_in_order_is_taken(request_: Request[Any]) -> None:
    check_request(request_)


@pytest.mark.parametrize("request_", BAD, ids=repr)
def test_a_request_that_cannot_be_carried_out_is_refused(request_: Request[Any]) -> None:
    with pytest.raises(UsageError):
        check_request(request_)


@pytest.mark.parametrize(
    "route",
    [
        Route("a b", "1.0"),
        Route("flow", ""),
        Route("flow", "1.0", task_names=["\0"]),
        Route("flow", "1.0", Raw(b"[]")),
        Route("flow", "1.0", Raw(b"{" * 100_000)),
        Route("flow", "1.0", events=Raw(b"[]")),
        Route("flow", "1.0", events=Raw(b'{"a b":{}}')),
        Route("flow", "1.0", events=Raw(b'{"approved":{"type":"unheard-of"}}')),
        Route("flow", "1.0", events=Raw(b'{"approved":"\xff"}')),
    ],
    ids=lambda route: repr(route)[:60],
)
def test_a_route_that_nobody_can_serve_is_refused(route: Route) -> None:
    check_routes([Route("flow", "1.0", Raw(b'{"type":"object"}'), ["a"], events=Raw(b'{"approved":{}}'))])
    with pytest.raises((UsageError, PayloadError)):
        check_routes([route])


@pytest.mark.parametrize(
    "one",
    [
        unit(Fence("1", 1, "claim-1")),
        unit(Fence(ID, 1, "a b")),
        unit(Fence(ID, 1 << 31, "claim-1")),
        unit(base=-1),
        unit(base=ENTRIES_HARD, entries=[Entry("k", True, VALUE, 1)]),
        unit(entries=[Entry("", True, VALUE, 1)]),
        unit(entries=[Entry("k", True, Raw(b""), 1)]),
        unit(entries=[Entry("k", True, Raw(b'"\xff"'), 1)]),
        unit(entries=[Entry("k", True, VALUE, MICROSECONDS_MAX + 1)]),
        unit(entries=[Entry("k", True, VALUE, 1, -1)]),
        unit(entries=[Entry("k", True, VALUE, 1, takes=(-1,))]),
        unit(entries=[Entry(f"k{n}", True, VALUE, 1, takes=(1,) * UNREAD_EVENTS) for n in range(3)]),
        unit(attempts=[Attempt("k\0", 1)]),
        unit(attempts=[Attempt("\u00e9" * 1_024 + "e", 1)]),
        unit(attempts=[Attempt("\u20ac" * 1_000, 1)]),
        unit(attempts=[Attempt("k", 1, next_at=-1)]),
        unit(attempts=[Attempt("k", 1, Raw(b"[" * 1_000))]),
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b"["), details_at=1)]),
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b"{}"), details_at=1)]),
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b'[1,"half"]'), details_at=1)]),
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b'["%s"]' % (b"x" * SAID_BYTES)), details_at=1)]),
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b"[1]"), details_at=-1)]),
        *(
            unit(end=End(move, due_at=1))
            for move in (Move.CLAIM, Move.DUE, Move.RESCUE, Move.BACK_OFF, Move.CRASH_LOOP)
        ),
        unit(ops=[SendOp(OF_AN_ANSWER, ID, "approved")]),
        unit(ops=[SendOp(OF_VERSION_4, ID, "approved")]),
        unit(ops=[SendOp(ID, ID, "approved"), SendOp(ID, ID, "rejected")]),
        unit(end=End(Move.SLEEP)),
        unit(end=End(Move.RETRY)),
        unit(end=End(Move.SLEEP, due_at=MICROSECONDS_MAX + 1)),
        unit(end=End(Move.COMPLETE, Raw(b"1e999"))),
        unit(end=End(Move.FAIL, error=Raw(b"\xff"))),
        unit(end=End(Move.DIVERGE, why="\0")),
    ],
    ids=lambda one: repr(one)[:80],
)
def test_a_unit_that_cannot_be_written_is_refused(one: Unit) -> None:
    with pytest.raises(PayloadError):
        check_unit(one, room=MESSAGE_BYTES)


def test_a_unit_in_order_is_taken() -> None:
    entries = [Entry("task:a:0:0", True, Raw(b'"\xc3\xa9"'), 1, 3)]
    tries = [Attempt("k", 1), Attempt("k", 1, UNDER_WAY, None, Raw(b'[1,0.5,"half"]'), 1)]
    check_unit(unit(entries=entries, attempts=tries, end=End(Move.SLEEP, due_at=1)), room=MESSAGE_BYTES)
    check_unit(unit(ops=[SendOp(ID, ID, "approved")]), room=MESSAGE_BYTES)
    deepest = b"[" * NESTING + b"]" * NESTING
    check_unit(
        unit(attempts=[Attempt("k", 1, UNDER_WAY, details=Raw(b"[%s]" % deepest), details_at=1)]), room=MESSAGE_BYTES
    )


def test_nobody_sends_an_event_by_the_id_of_an_answer() -> None:
    check_send(Sent(ID, OF_VERSION_4, "approved"), room=MESSAGE_BYTES)
    with pytest.raises(PayloadError, match="not one of an event"):
        check_send(Sent(ID, OF_AN_ANSWER, "approved"), room=MESSAGE_BYTES)
