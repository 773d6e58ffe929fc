"""Does whatever is said to fit a message fit it? At every size of message, with the worst that a run may carry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from aiki.core.errors import PayloadError
from aiki.core.states import Move, State
from aiki.wire import codec, packing, weights
from aiki.wire.limits import ERROR_BYTES, KEY_CHARS, LABELS, MESSAGE_BYTES, PAYLOAD_BYTES
from aiki.wire.messages import (
    NONE,
    Arrival,
    Attempt,
    Claimed,
    ClaimReply,
    End,
    Enqueue,
    Entry,
    Fence,
    FirstEvent,
    HistoryItem,
    KeyAnswer,
    KeyAsk,
    NewRun,
    OpenSession,
    PageReply,
    QueueRow,
    RateRow,
    Record,
    Route,
    RunOptions,
    RunStatus,
    SendOp,
    Sent,
    SessionRow,
    StartOp,
    StatusReply,
    StopOp,
    SummaryRow,
    TimerAsk,
    TroubleRow,
    Unit,
)
from aiki.wire.messages.own_retry import OwnRetry, RetryRule, check_own_retry
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from aiki.wire.schema import OBJECTS

KB = 1024
SERVERS = [64 * KB, 128 * KB, 512 * KB, 1024 * KB, 8192 * KB]
RUN = "01890a5d-ac96-774b-bcce-b302099a8057"
FENCE = Fence(RUN, 2**31 - 1, RUN)
TIME = 253_402_300_799_000_000
NAME, VERSION = "w" * 64, "v" * 32
KEY = "\1" * KEY_CHARS
LABELS_OF_ESCAPES = {f"{n:0>64}": "\1" * KEY_CHARS for n in range(LABELS)}
RETRY = OwnRetry(RetryRule("exponential", 1_000_000_000, only_on=("\1" * 300,)), "failure")
check_own_retry(RETRY)
text = st.text(max_size=200)
raw = st.binary(max_size=300).map(lambda data: Raw(b'"' + data.hex().encode() + b'"'))
small = st.integers(0, 2**31 - 1)


def payload(size: int) -> Raw:
    return Raw(b'"' + b"x" * (size - 2) + b'"')


# -- what fits


@pytest.mark.parametrize("max_payload", SERVERS)
def test_the_largest_payload_fits_every_message_that_must_carry_it(max_payload: int) -> None:
    room = packing.room_of(max_payload)
    largest = payload(packing.payload_bytes(room))
    carried: dict[str, Any] = {"key": KEY, "labels": LABELS_OF_ESCAPES}
    options = RunOptions(
        on_conflict="existing", priority=-100, delay=TIME, timeout=TIME, cancel_timeout=TIME, retry=RETRY, **carried
    )
    run = NewRun(RUN, NAME, VERSION, largest, options, digest="f" * 32)
    claimed = Claimed(FENCE, RUN, NAME, VERSION, largest, 2**31 - 1, TIME, length=50_000, suspect=True, **carried)
    claimed.retry, claimed.first_at = Raw(codec.encode(RETRY)), TIME
    status = RunStatus(
        RUN,
        NAME,
        VERSION,
        State.COMPLETED,
        TIME,
        2**31,
        started_at=TIME,
        finished_at=TIME,
        due_at=TIME,
        priority=-100,
        tasks=50_000,
        output=largest,
        origin_id=RUN,
        deadline=TIME,
        **carried,
    )
    entry = Entry("\1" * KEY_CHARS, False, largest, TIME, 2**31)
    end = End(Move.COMPLETE, output=largest)
    for message in (
        Enqueue([run], "_INBOX." + "x" * 249),
        codec.Envelope(ok=ClaimReply(TIME, runs=[claimed], more=True)),
        codec.Envelope(ok=StatusReply([status])),
        codec.Envelope(ok=PageReply([entry])),
        Record([Unit(FENCE, 50_000, [entry], [], None)]),
        Record([Unit(FENCE, 50_000, [], [], end)]),
    ):
        assert len(codec.encode(message)) <= room


@pytest.mark.parametrize("max_payload", SERVERS)
def test_a_payload_is_refused_from_one_byte_over_the_limit_on(max_payload: int) -> None:
    room = packing.room_of(max_payload)
    limit = packing.payload_bytes(room)
    for size in (limit - 1, limit):
        packing.check_payload(size, "the input", room=room)
    with pytest.raises(PayloadError, match=f"the input has {limit + 1:,} bytes") as refused:
        packing.check_payload(limit + 1, "the input", room=room)
    if limit < PAYLOAD_BYTES:
        assert f"max_payload of {max_payload:,}" in refused.value.message
        assert "raise max_payload" in (refused.value.hint or "")


def test_a_message_never_holds_more_than_our_own_limit() -> None:
    assert [packing.room_of(size) // KB for size in SERVERS] == [64, 128, 512, 512, 512]
    assert packing.payload_bytes(MESSAGE_BYTES) == PAYLOAD_BYTES


def test_an_error_fits_where_the_smallest_payload_does() -> None:
    assert packing.payload_bytes(MAX_PAYLOAD_LEAST) > ERROR_BYTES


# -- the loop


@given(st.lists(st.integers(0, 50)), st.integers(0, 100), st.integers(1, 10))
def test_parts_hold_everything_in_order_and_each_fits_or_is_alone(items: list[int], room: int, most: int) -> None:
    found = list(packing.parts(items, lambda item: item, room, most))
    assert [item for part in found for item in part] == items
    for part in found:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(part) <= room


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 100))
def test_as_many_as_fit_are_taken(items: list[int], room: int) -> None:
    count = packing.fitting(items, room)
    assert count == 1 or sum(items[:count]) <= room
    assert count == len(items) or sum(items[: count + 1]) > room


def test_of_nothing_nothing_fits() -> None:
    assert packing.fitting([], 100) == 0
    assert list(packing.parts([], len, 100)) == []


# -- weights


def weighs_enough(thing: object, weight: int) -> bool:
    return len(codec.encode(thing)) + 1 <= weight


labels = st.dictionaries(st.text("abc", min_size=1, max_size=64), text, max_size=3)
number = st.integers(0, 2**63 - 1)
entries = st.builds(
    Entry,
    text,
    st.booleans(),
    raw,
    st.integers(0, TIME),
    st.none() | small,
    small,
    st.lists(number, max_size=3).map(tuple),
)
attempts = st.builds(Attempt, text, small, raw, st.none() | st.integers(0, TIME))
ends = st.builds(
    End,
    st.sampled_from(Move),
    *(raw, raw, st.none() | st.integers(0, TIME), st.none() | text),
    *(st.none() | number, st.lists(text, max_size=3)),
)
ids = st.just(RUN)
digests = st.none() | st.just("f" * 32)
sends = st.builds(SendOp, ids, ids, text, raw, st.none() | text, digests)
starts = st.builds(
    StartOp,
    *(ids, st.just(NAME), st.just(VERSION), raw),
    st.builds(RunOptions, key=st.none() | text, priority=st.just(-100), labels=labels, delay=st.integers(0, TIME)),
    *(digests, st.just("abandon")),
)
stops = st.builds(StopOp, ids, ids, st.none() | text)
timers = st.builds(TimerAsk, entries, st.integers(0, TIME), number)


@given(raw, st.none() | text, labels, st.sampled_from([None, RETRY]))
def test_a_run_weighs_no_less_than_it_takes(
    input: Raw, key: str | None, labelled: dict[str, str], retry: OwnRetry | None
) -> None:
    first = FirstEvent("x" * 64, input)
    options = RunOptions(key=key, on_conflict="existing", priority=-100, labels=labelled, start_at=TIME, send=first)
    options = msgspec.structs.replace(options, retry=retry)
    run = NewRun(RUN, NAME, VERSION, input, options, "f" * 32)
    claimed = Claimed(FENCE, RUN, NAME, VERSION, input, 9, TIME, key, labelled, length=50_000, suspect=True)
    claimed.generation, claimed.news, claimed.unread = 2**31 - 1, 2**63 - 1, 2**31 - 1
    claimed.parent, claimed.depth, claimed.priority = RUN, 100, -100
    claimed.retry = NONE if retry is None else Raw(codec.encode(retry))
    assert weighs_enough(run, weights.of_run(run))
    assert weighs_enough(claimed, weights.of_run(run))


@given(raw, raw, text, text, labels)
def test_a_status_weighs_no_less_than_it_takes(
    output: Raw, error: Raw, why: str, worker: str, labelled: dict[str, str]
) -> None:
    status = RunStatus(
        RUN, NAME, VERSION, State.COMPLETED, TIME, 2**31, TIME, TIME, TIME, why, -100, labelled, 50_000, output, error
    )
    status.why, status.worker, status.origin_id = why, worker, RUN
    status.parent_id, status.depth, status.children = RUN, 100, 2**31 - 1
    assert weighs_enough(status, weights.of_status(status))


units = st.builds(
    Unit,
    st.just(FENCE),
    st.just(50_000),
    *(st.lists(entries, max_size=3), st.lists(attempts, max_size=3), st.none() | ends),
    *(st.lists(sends, max_size=3), st.none() | timers),
    *(st.lists(starts, max_size=3), st.lists(stops, max_size=3)),
    labels=st.none() | labels,
)


@given(units)
def test_a_unit_weighs_no_less_than_it_takes(unit: Unit) -> None:
    assert weighs_enough(unit, weights.of_unit(unit))
    assert all(weighs_enough(entry, weights.of_entry(entry)) for entry in unit.entries)


@given(sends, number, st.integers(0, TIME))
def test_an_event_weighs_no_less_than_it_takes(send: SendOp, place: int, at: int) -> None:
    assert weighs_enough(send, weights.of_sent(send))
    sent = Sent(send.run_id, send.id, send.name, send.value, send.key, send.digest)
    assert weighs_enough(sent, weights.of_sent(sent))
    arrival = Arrival(place, at, "cancel", send.name, send.value, send.id)
    assert weighs_enough(arrival, weights.of_arrival(arrival))


@given(text, text, text, raw, st.lists(text, max_size=3))
def test_lines_and_routes_weigh_no_less_than_they_take(a: str, b: str, c: str, value: Raw, names: list[str]) -> None:
    item = HistoryItem(TIME, "crash_loop", State.COMPLETED, a, b, c, ok=False, value=value)
    route = Route(NAME, VERSION, value, names, live=True, events=value)
    assert weighs_enough(item, weights.of_item(item))
    assert weighs_enough(route, weights.of_route(route))
    assert weighs_enough((RUN, 2**63 - 1), weights.NEWS_BYTES)
    row = SummaryRow(NAME, VERSION, State.SCHEDULED, 2**62, capped=True)
    assert weighs_enough(row, weights.SUMMARY_ROW_BYTES)


@given(text)
def test_what_a_summary_says_of_a_route_and_of_a_session_weighs_no_less_than_it_takes(words: str) -> None:
    many = 2**62
    queue = QueueRow(NAME, VERSION, many, True, TIME, many)
    rate = RateRow(NAME, many, many, many, many, many, many, many)
    trouble = TroubleRow(NAME, VERSION, State.CANCELLED, many, RUN, TIME, words, capped=True)
    rows = [SummaryRow(NAME, VERSION, state, many, capped=True) for state in State]
    assert weighs_enough([*rows, queue, rate, trouble, trouble], weights.SUMMARY_ROUTE_BYTES)
    one = SessionRow(words, RUN, TIME, TIME, many, 2**31, True, [(NAME, VERSION)] * 10, many)
    assert weighs_enough(one, weights.of_session(one))


def test_what_is_wanted_of_a_key_weighs_enough_with_what_is_said_of_it() -> None:
    ask = KeyAsk(f"task:{NAME}@{KEY}", NAME, NAME, KEY, "0" * 32, "done", TIME)
    answer = KeyAnswer("waits", RUN, since=TIME)
    assert weighs_enough([ask, answer], weights.of_key(ask))
    assert codec.decoder(KeyAnswer).decode(codec.encode(answer)) == answer


def test_an_absent_payload_weighs_nothing() -> None:
    assert weights.of_end(None) == weights.of_end(End(Move.COMPLETE, output=NONE)) == weights.of_text(None) == 0


# -- cutting


def items_of(unit: Unit) -> list[list[Any]]:
    """Return all that a unit has several of, in the order in which it is written when it is cut."""
    return [unit.starts, unit.entries, unit.attempts, unit.ops, unit.stops]


@given(units, st.integers(500, 3000))
def test_a_unit_is_cut_into_parts_that_fit_and_lose_nothing(unit: Unit, room: int) -> None:
    found = packing.cut(unit, room)
    base = unit.base
    for part in found:
        assert part.fence == FENCE
        assert part.base == base, "a gap in the journal"
        assert weights.of_unit(part) <= room or sum(map(len, items_of(part))) <= 1
        base += len(part.entries)
    assert [entry for part in found for entry in part.entries] == unit.entries
    assert [attempt for part in found for attempt in part.attempts] == unit.attempts
    assert [op for part in found for op in part.ops] == unit.ops
    assert [op for part in found for op in part.starts] == unit.starts
    assert [op for part in found for op in part.stops] == unit.stops
    assert [part.timer for part in found if part.timer is not None] == ([] if unit.timer is None else [unit.timer])
    assert [part.end for part in found if part.end is not None] == ([] if unit.end is None else [unit.end])


@given(units)
def test_what_a_unit_starts_comes_first_and_the_claim_is_given_up_last(unit: Unit) -> None:
    def kind(part: Unit) -> int:
        filled = [place for place, items in enumerate(items_of(part)) if items and part.end is None]
        return filled[0] if filled else 5 if part.labels is not None else 6 if part.timer else 7

    kinds = [kind(part) for part in packing.cut(unit, 500)]
    assert kinds == sorted(kinds)


def test_the_entry_of_a_retry_goes_with_the_end_that_it_belongs_to() -> None:
    results, retry = (
        [Entry(f"task:{n}", True, payload(300), TIME) for n in range(5)],
        Entry("retry:2", True, NONE, TIME),
    )
    for anew in (False, True):
        unit = Unit(FENCE, 10, [*results, retry], [], End(Move.AGAIN, due_at=TIME, anew=anew))
        *_, last = packing.cut(unit, 1_000)
        assert (last.entries, last.base) == (([], 16) if anew else ([retry], 15))


def test_what_becomes_of_a_key_goes_with_the_entry_of_its_call_and_what_is_wanted_of_others_after_all() -> None:
    results = [Entry(f"task:t@{n}", True, payload(300), TIME) for n in range(5)]
    done = [KeyAsk(f"task:t@{n}", "", "t", str(n), "0" * 32, "done", TIME) for n in range(5)]
    own = [KeyAsk(f"task:t@{n}", "", "t", str(n), "0" * 32) for n in range(5, 9)]
    parts = packing.cut(Unit(FENCE, 10, results, [], keys=[*own, *done]), 1_500)
    settled, others = [part for part in parts if part.entries], [part for part in parts if not part.entries]
    assert [ask for part in settled for ask in part.keys] == done
    assert all([one.key for one in part.entries] == [ask.call for ask in part.keys] for part in settled)
    assert parts == settled + others
    assert [ask for part in others for ask in part.keys] == own
    assert {part.base for part in others} == {15}
    assert all(weights.of_unit(part) <= 1_500 for part in parts)


@given(units, st.integers(500, 3000))
def test_what_was_cut_is_not_cut_again(unit: Unit, room: int) -> None:
    """Else whoever cuts what was refused would go on for ever."""
    for part in packing.cut(unit, room):
        assert packing.cut(part, room) == [part]


# -- sessions


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(3000, 9000))
def test_a_session_is_opened_in_requests_that_fit_and_all_schemas_arrive(sizes: list[int], room: int) -> None:
    routes = [
        Route(f"w{n}", "1", payload(size // 2 + 2), events=payload(size - size // 2)) for n, size in enumerate(sizes)
    ]
    first, *others = packing.openings(OpenSession(RUN, "worker", routes), room)
    assert [route.workflow for route in first.routes] == [route.workflow for route in routes]
    assert {request.id for request in others} <= {RUN}
    known = {route.workflow: route for request in (first, *others) for route in request.routes if route.parameters}
    assert list(known.values()) == routes
    for request in (first, *others):
        assert len(codec.encode(request)) <= max(room, 3500 + weights.OPENING_BYTES)


def test_a_session_is_opened_in_requests_of_no_more_objects_than_one_may_have() -> None:
    described = Raw(b"[" + b",".join([b"{}"] * (OBJECTS // 2)) + b"]")
    routes = [Route(f"w{n}", "1", described) for n in range(7)]
    first, *others = packing.openings(OpenSession(RUN, "worker", routes), MESSAGE_BYTES)
    assert not any(route.parameters for route in first.routes)
    assert [len(request.routes) for request in others] == [2, 2, 2, 1]


@given(st.sets(st.uuids().map(str), max_size=40), st.integers(0, 1000))
def test_ids_that_do_not_fit_at_once_are_all_listed_in_turn(ids: set[str], room: int) -> None:
    listed: list[str] = []
    until: str | None = ""
    while until is not None:
        after = until
        some, until = packing.next_ids(ids, after, room)
        assert len(some) <= max(1, room // weights.ID_BYTES)
        assert all(after < one for one in some)
        listed += some
    assert listed == sorted(ids)
