"""Own what a request's values must look like, checked before anything is written. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from aiki.core import retention
from aiki.core.canonical import nests_too_deep
from aiki.core.errors import PayloadError, UsageError
from aiki.core.states import Move
from aiki.rules.again import check_again
from aiki.rules.filtering import check_filter
from aiki.rules.judging import ENDS, PARKING
from aiki.wire import declared, packing, schema
from aiki.wire.codec import decoder
from aiki.wire.limits import CLAIM_RUNS, ENTRIES_HARD, KEY_CHARS, NESTING, SAID_BYTES, UNIT_TAKES
from aiki.wire.messages import (
    NO_OPTIONS,
    NULL,
    Attempt,
    Cancel,
    Claim,
    CloseSession,
    Delete,
    End,
    Enqueue,
    Entry,
    Export,
    Find,
    Follow,
    History,
    Import,
    Inbox,
    Input,
    ListRuns,
    MoveRuns,
    NewRun,
    OpenSession,
    Page,
    Pause,
    Record,
    RenewSession,
    Request,
    Resume,
    Retry,
    Route,
    RunOptions,
    Said,
    Send,
    SendOp,
    Sent,
    Status,
    TimerAsk,
    Unit,
    Wake,
    Watch,
    Why,
    Workflows,
)
from aiki.wire.messages.options import check_labels, check_options
from aiki.wire.schema import BadSchema
from aiki.wire.subjects import is_token, is_version

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_read: Final = msgspec.json.Decoder().decode
MICROSECONDS_MAX: Final = 253_402_300_799_000_000
"""The end of the year 9999: later times fit no Python datetime."""
ANSWER_VERSION: Final = "8"
"""The version in the ids of answers: that of what is answered is 7, and all else in them the same."""
END_VERSION: Final = "9"
"""The version in the ids by which the ends of children are known to their parents."""
_VERSION_AT: Final = 14
_PLAIN_BYTES: Final = 2_000
_ENTRY_KEY_CHARS: Final = 1024
_INDEXED_BYTES: Final = 2048
"""A key that stands in an index: Postgres takes 2,704 bytes there, with the other columns."""
_AROUND_BYTES: Final = 256
_AROUND_LEVELS: Final = 2
"""What an entry says of the event that it takes, around what that carries: its name and its time."""
_NAME_CHARS: Final = 256
"""Of a worker, and of whoever orders something."""
_REFERENCE_CHARS: Final = 512
_INTS: Final = range(1 << 31)
_NUMBERS: Final = range(1 << 63)
_TTL_SECONDS: Final = (0.5, 3600.0)


def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in its canonical form (lower case, with hyphens)."""
    return _UUID.fullmatch(text) is not None


def is_derived(id: str) -> bool:
    """Tell whether `id` is one that a call of a run may have: a UUID of version 7."""
    return is_uuid(id) and id[_VERSION_AT] == "7"


def _is_ours(id: str) -> bool:
    """Tell whether a UUID is of the kinds by which runs hear of what they did and started: no one else's is."""
    return id[_VERSION_AT] in (ANSWER_VERSION, END_VERSION)


def answer_id(id: str) -> str:
    """Return the id by which the outcome of an op is known, once: none else has one of this version."""
    return f"{id[:_VERSION_AT]}{ANSWER_VERSION}{id[_VERSION_AT + 1 :]}"


def is_digest(text: str) -> bool:
    """Tell whether this is a blake2b-128 in hex."""
    return _DIGEST.fullmatch(text) is not None


def is_text(text: str, *, chars: int) -> bool:
    """Tell whether Postgres can store `text` (no NUL) and it is not empty and not longer than `chars`."""
    return 0 < len(text) <= chars and "\0" not in text


def check_request(request: Request[Any]) -> None:
    """Raise UsageError if the request as a whole cannot be carried out; it is not even queued.

    What one item of it lacks (a run, a unit, a route of a session) is said of that item, when it is carried out; so is
    what a cursor means, which is the reader's own word.
    """
    match request:  # what comes most often first
        case Enqueue() | Send():
            pass
        case Record():
            # A worker sends a run's next unit when it knows what became of the last; several at a time would have to
            # be written one after the other, by a statement for each.
            if len({unit.fence.run_id for unit in request.units}) < len(request.units):
                raise UsageError("a request records at most one unit of each run: send the next after its answer")
        case Claim():
            _check_claim(request)
        case Status() | Watch() | Export() | Why() | Follow():
            for run_id in [one.id for one in request.runs] if isinstance(request, Follow) else request.ids:
                _check_id(run_id)
        case OpenSession():
            _check_open(request)
        case RenewSession() | CloseSession():
            _check_id(request.id, what="session")
        case Pause() | Resume() | Wake() | Cancel() | Retry() | MoveRuns() | Delete():
            _check_order(request)
        case _:
            _check_read(request)


def _check_id(id: str, *, what: str = "run") -> None:
    if not is_uuid(id):
        raise UsageError(f"{what} id {id[:64]!r} is not a UUID in its canonical form")


def _check_claim(request: Claim) -> None:
    if not is_uuid(request.session) or not is_token(request.claim_id):
        raise UsageError("`session` must be a UUID and `claim_id` 1 to 64 characters of A-Z a-z 0-9 _ -")
    if not 1 <= request.limit <= CLAIM_RUNS:
        raise UsageError(f"a claim takes 1 to {CLAIM_RUNS} runs, not {request.limit}")
    if any("\0" in part for route in request.routes for part in route):
        raise UsageError("a route's name holds NUL")


def _check_open(request: OpenSession) -> None:
    _check_id(request.id, what="session")
    if not is_text(request.worker, chars=_NAME_CHARS):
        raise UsageError(f"a worker's name must be 1 to {_NAME_CHARS} characters without NUL")
    low, high = _TTL_SECONDS
    if not math.isfinite(request.ttl) or not low <= request.ttl <= high:
        raise UsageError(f"a lease must be {low:g} to {high:g} seconds, not {request.ttl:g}")


def _check_order(request: Pause | Resume | Wake | Cancel | Retry | MoveRuns | Delete) -> None:
    if isinstance(request, Wake):
        _check_id(request.id, what="order")
        if _is_ours(request.id):
            raise UsageError(f"the id {request.id} is not one of an order: make a UUID of version 4 or 7")
    if isinstance(request, Cancel | Pause) and "\0" in (request.reason or ""):
        raise UsageError("`reason` holds NUL")
    if isinstance(request, Retry):
        _check_retry(request)
    if isinstance(request, MoveRuns):
        _check_move(request)
    for run_id in request.ids:
        _check_id(run_id)
    if request.actor is not None and not is_text(request.actor, chars=_NAME_CHARS):
        raise UsageError(f"`actor` must be 1 to {_NAME_CHARS} characters without NUL")


def _check_move(request: MoveRuns) -> None:
    if not is_version(request.version):
        raise UsageError(f"{request.version[:80]!r} is no version: it takes 1 to 32 of A-Z a-z 0-9 _ . + -")
    if len(request.claims) not in (0, len(request.ids)):
        raise UsageError(f"`claims` has {len(request.claims)} numbers for {len(request.ids)} runs")


def _check_retry(request: Retry) -> None:
    if request.task is not None and (request.start or request.input):
        raise UsageError("a retry goes on from a task, or from the start, or with another input: say one of them")
    for name in (*(() if request.task is None else (request.task,)), *request.keep, *request.again):
        if not is_token(name):
            raise UsageError(f"task name {name[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    if request.workflow is not None and not is_token(request.workflow):
        raise UsageError(f"workflow name {request.workflow[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")


def _check_read(request: Request[Any]) -> None:
    match request:
        case Page() | Inbox():
            _check_page(request)
        case History() | Input() | Import():
            _check_id(request.id)
        case Find():
            if "\0" in request.reference or len(request.reference) > _REFERENCE_CHARS:
                raise UsageError("a reference to a run is an id, a part of one, or workflow@key")
        case ListRuns():
            if request.parent is not None:
                _check_id(request.parent)
            check_filter(request)
        case Workflows():
            if request.workflow is not None and "\0" in request.workflow:
                raise UsageError("a workflow's name holds NUL")


def _check_page(request: Page | Inbox) -> None:
    _check_id(request.run_id)
    if request.after not in _NUMBERS:
        raise UsageError("`after` must be 0 or more")
    if isinstance(request, Page) and request.tried_after is not None and "\0" in request.tried_after:
        raise UsageError("`tried_after` holds NUL")


def check_routes(routes: Sequence[Route]) -> None:
    """Raise UsageError or PayloadError if a session cannot serve these routes. Parses their schemas."""
    if sum((bytes(route.parameters) + bytes(route.events)).count(b"{") for route in routes) > schema.OBJECTS:
        raise PayloadError(f"the schemas of a worker's routes have more than {schema.OBJECTS:,} objects together")
    for route in routes:
        if not is_token(route.workflow) or not is_version(route.version):
            raise UsageError(f"route {route.workflow[:80]!r} {route.version[:80]!r} has a bad name or version")
        if "\0" in route.fingerprint:
            raise UsageError(f"the fingerprint of {route.workflow!r} {route.version!r} holds NUL")
        if not all(map(is_token, route.task_names)):
            raise UsageError(f"route {route.workflow!r} {route.version!r} has a bad task name")
        retention.check(route.retention)
        check_options(RunOptions(timeout=route.timeout, cancel_timeout=route.cancel_timeout))
        _check_schemas(route)


def _check_schemas(route: Route) -> None:
    what = "the schema"
    try:
        if raw := bytes(route.parameters):
            schema.parse(raw)
        what = "a schema of an event"
        declared.from_wire(route.events)
    except BadSchema as error:
        raise PayloadError(f"{what} of {route.workflow!r} {route.version!r} is refused: {error}") from error


def check_run(run: NewRun, *, room: int) -> None:
    """Raise UsageError or PayloadError, with what was expected, if `run` cannot be enqueued or ever be claimed."""
    _check_id(run.id)
    if not is_token(run.workflow):
        raise UsageError(f"workflow name {run.workflow[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    if not is_version(run.version):
        raise UsageError(f"version {run.version[:80]!r} must be 1 to 32 characters of A-Z a-z 0-9 _ . + -")
    if run.options is not NO_OPTIONS:
        check_options(run.options)
        if run.options.key is not None and (run.digest is None or not _DIGEST.fullmatch(run.digest)):
            raise UsageError("an idempotency key needs the digest of the input: 32 hexadecimal digits")
    check_payload(bytes(run.input), what="the input", room=room)
    if (first := run.options.send) is not None:
        check_payload(bytes(first.value), what=f"event {first.name!r}", room=room)
        packing.check_payload(len(run.input) + len(first.value), "the input with its event", room=room)


def check_unit(unit: Unit, *, room: int) -> None:
    """Raise PayloadError if the unit cannot be written, or what it writes could not be brought to a reader later."""
    fence = unit.fence
    if not is_uuid(fence.run_id) or not is_token(fence.claim_id) or fence.epoch not in _INTS:
        raise PayloadError("the fence is malformed")
    if unit.base < 0 or unit.base + len(unit.entries) > ENTRIES_HARD:
        raise PayloadError(
            f"a run's journal holds at most {ENTRIES_HARD:,} entries: go on in a new generation before that"
            " (workflow.continue_as_new(run, ...)), or split the work into several runs"
        )
    _check_entries(unit.entries, room)
    check_again(unit)
    for attempt in unit.attempts:
        _check_attempt(attempt, room)
    if unit.end is not None:
        _check_end(unit.end, room)
    for op in unit.ops:
        check_send(op, room=room)
    if len(unit.ops) > 1 and len({op.id for op in unit.ops}) < len(unit.ops):
        raise PayloadError("a unit sends two events with one id")
    if unit.timer is not None:
        _check_timer(unit, unit.timer, room)
    if unit.labels is not None:
        _check_labels(unit.labels)


def check_recorded(entries: Sequence[Entry], attempts: Sequence[Attempt], *, room: int) -> None:
    """Raise PayloadError if these could be no part of any unit, or could not be brought to a reader later."""
    _check_entries(entries, room)
    for attempt in attempts:
        _check_attempt(attempt, room)


def _check_labels(labels: Mapping[str, str]) -> None:
    try:
        check_labels(labels)
    except UsageError as error:
        raise PayloadError(error.message) from error


def _check_entries(entries: Sequence[Entry], room: int) -> None:
    taken: list[int] = []
    for entry in entries:
        raw = bytes(entry.value)
        # Plain and short is the common case: one look, no call.
        if len(raw) > _PLAIN_BYTES or not raw.isascii() or not raw:
            around = _AROUND_BYTES if entry.takes else 0
            levels = NESTING + _AROUND_LEVELS if entry.takes else NESTING
            check_payload(raw, what=f"the outcome of {entry.key[:100]!r}", room=room, around=around, levels=levels)
        told = bytes(entry.arguments)
        if len(told) > _PLAIN_BYTES or not told.isascii():
            _check_told(entry, told, room)
        if not (0 <= entry.at <= MICROSECONDS_MAX and 0 <= (entry.started or 0) <= MICROSECONDS_MAX):
            raise PayloadError(f"entry {entry.key[:100]!r} has a time out of range")
        if not is_text(entry.key, chars=_ENTRY_KEY_CHARS):
            raise PayloadError(f"entry {entry.key[:100]!r} has a bad key")
        if (entry.turns is not None and entry.turns not in _INTS) or entry.asked not in _INTS:
            raise PayloadError(f"entry {entry.key[:100]!r} has a bad number of turns, or of the delivery before it")
        if entry.takes:
            taken += entry.takes
            if len(taken) > UNIT_TAKES or not all(number in _NUMBERS for number in entry.takes):
                raise PayloadError(f"entry {entry.key[:100]!r} takes too many arrivals, or such of bad numbers")
    if len(taken) > 1 and len(set(taken)) < len(taken):
        raise PayloadError("a unit takes one arrival twice")


def _check_told(one: Entry | Attempt, raw: bytes, room: int) -> None:
    """Raise PayloadError if what a call was made with cannot be told to people later."""
    what = f"what {one.key[:100]!r} was called with"
    check_payload(raw, what=what, room=room)
    outcome = one.value if isinstance(one, Entry) else one.error
    if not packing.fits_beside(len(raw), len(outcome), room=room):
        raise PayloadError(f"{what} has {len(raw):,} bytes, and fits no message with its outcome")


def check_send(event: Sent | SendOp, *, room: int) -> None:
    """Raise PayloadError if an event cannot be sent, or could not be brought to a worker later."""
    if not is_uuid(event.run_id) or not is_uuid(event.id):
        raise PayloadError("the id of a run, and that of an event, is a UUID in its canonical form")
    if _is_ours(event.id) or (isinstance(event, SendOp) and not is_derived(event.id)):
        raise PayloadError(f"the id {event.id} is not one of an event: make a UUID of version 7")
    if not is_token(event.name):
        raise PayloadError(f"event name {event.name[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    if event.key is not None:
        if not is_text(event.key, chars=KEY_CHARS):
            raise PayloadError(f"the idempotency key {event.key[:80]!r} must be 1 to {KEY_CHARS} characters")
        if event.digest is None or not _DIGEST.fullmatch(event.digest):
            raise PayloadError("an idempotency key needs the digest of the value: 32 hexadecimal digits")
    check_payload(bytes(event.value), what=f"the value of event {event.name!r}", room=room)


def _check_timer(unit: Unit, timer: TimerAsk, room: int) -> None:
    if unit.end is not None or timer.seen not in _NUMBERS or not 0 <= timer.due <= MICROSECONDS_MAX:
        raise PayloadError("an asked timer is malformed, or its claim ends with it")
    check_unit(Unit(unit.fence, unit.base + len(unit.entries), [timer.entry], []), room=room)


def _check_attempt(attempt: Attempt, room: int) -> None:
    name = f"attempt {attempt.attempt} of {attempt.key[:100]!r}"
    if not is_text(attempt.key, chars=_ENTRY_KEY_CHARS) or attempt.attempt not in _INTS:
        raise PayloadError(f"{name} has a bad key or number")
    if len(attempt.key.encode()) > _INDEXED_BYTES:
        raise PayloadError(f"the key {attempt.key[:100]!r} is over {_INDEXED_BYTES:,} bytes")
    if attempt.next_at is not None and not 0 <= attempt.next_at <= MICROSECONDS_MAX:
        raise PayloadError(f"{name} is next due out of range")
    if raw := bytes(attempt.error):
        check_payload(raw, what=f"the error of {attempt.key[:100]!r}", room=room)
    _check_told(attempt, bytes(attempt.arguments), room)
    if attempt.started is not None and not 0 <= attempt.started <= MICROSECONDS_MAX:
        raise PayloadError(f"{name} has begun out of range")
    if attempt.details != NULL:
        _check_said(attempt, room)
    if attempt.details_at is not None and not 0 <= attempt.details_at <= MICROSECONDS_MAX:
        raise PayloadError(f"{name} has spoken out of range")


def _check_said(attempt: Attempt, room: int) -> None:
    what = f"what a try of {attempt.key[:100]!r} says"
    check_payload(bytes(attempt.details), what=what, room=room, levels=NESTING + 1)
    if len(attempt.details) > SAID_BYTES:
        raise PayloadError(f"{what} has more than {SAID_BYTES:,} bytes")
    try:
        decoder(Said).decode(attempt.details)
    except msgspec.MsgspecError as error:
        raise PayloadError(f"{what}: {error}") from None


def _check_end(end: End, room: int) -> None:
    if end.move not in ENDS:
        raise PayloadError(f"a claim cannot end by {end.move.value!r}")
    if end.due_at is None and end.move in PARKING:
        raise PayloadError(f"{end.move.value!r} needs `due_at`")
    if end.due_at is not None and not 0 <= end.due_at <= MICROSECONDS_MAX:
        raise PayloadError("`due_at` is out of range")
    if output := bytes(end.output):
        check_payload(output, what="the result", room=room)
    if error := bytes(end.error):
        check_payload(error, what="the error", room=room)
    _check_next(end, room)
    if end.why is not None and "\0" in end.why:
        raise PayloadError("`why` holds NUL")
    if any("\0" in word for word in end.waits) or (end.seen is not None and end.seen not in _NUMBERS):
        raise PayloadError("what the run waits for, or what was seen, is malformed")


def _check_next(end: End, room: int) -> None:
    """Raise PayloadError if an end says something of a next generation that it does not begin, or none of its own."""
    if end.move is Move.CONTINUE:
        check_payload(bytes(end.input), what="the input of the next generation", room=room)
        if end.version is not None and not is_version(end.version):
            raise PayloadError(f"version {end.version[:80]!r} must be 1 to 32 characters of A-Z a-z 0-9 _ . + -")
    elif bytes(end.input) or end.version is not None:
        raise PayloadError(f"{end.move.value!r} has an input or a version: only a `continue` begins a generation")


def check_payload(raw: bytes, *, what: str, room: int, around: int = 0, levels: int = NESTING) -> None:
    """Raise PayloadError if `raw` is too long for messages of `room` bytes, or nested too deep, or unreadable.

    It may be a payload with `around` more bytes around it.

    Unreadable to clients of ours is text that is not UTF-8, and numbers such as 1e999 or of 5,000 digits. What comes of
    the decoding is thrown away: it is the fastest way to look at all of them.
    """
    if len(raw) > packing.PAYLOAD_BYTES_LEAST:
        packing.check_payload(len(raw) - around, what, room=room)
    if not raw:
        raise PayloadError(f"{what} is missing")
    if nests_too_deep(raw, levels=levels):
        raise PayloadError(f"{what} is nested deeper than {NESTING} levels")
    try:
        _read(raw)
    except UnicodeDecodeError as error:
        raise PayloadError(f"{what} is not UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise PayloadError(f"{what} holds what no client can read: {error}") from error
