"""Own what things weigh on the wire: bytes, never less than they take there, so that nothing is encoded to be measured.

Payloads are weighed as they are, text by its worst character. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiki.core.states import State
from aiki.wire.limits import LINE_CHARS, RETRY_BYTES
from aiki.wire.messages import (
    NO_OPTIONS,
    Arrival,
    Attempt,
    CodeChange,
    End,
    Entry,
    HistoryItem,
    KeyAsk,
    NewRun,
    Route,
    RouteStanding,
    RunStatus,
    SendOp,
    Sent,
    SessionRow,
    StartOp,
    StopOp,
    Unit,
)

REQUEST_BYTES: Final = 512
"""A request beside its items."""
REPLY_BYTES: Final = 256
"""A reply, or what is told unasked, beside its items."""
OPENING_BYTES: Final = 2048
"""The opening of a session beside its routes."""
ID_BYTES: Final = 48
"""The id of a run or of a claim in a list."""
FENCE_BYTES: Final = 256
"""A run that a renewal's reply names, with its fence."""
NEWS_BYTES: Final = 72
"""A run that a renewal's reply names, with the number of its last arrival."""
UNIT_BYTES: Final = 400
"""A unit beside its entries and tries."""
SUMMARY_ROW_BYTES: Final = 256
"""One count; names and versions are tokens, so all weigh alike."""
_LINE_BYTES: Final = 320 + 6 * LINE_CHARS
"""Runs of a route that need a look."""
SUMMARY_ROUTE_BYTES: Final = (len(State) + 2) * SUMMARY_ROW_BYTES + 2 * _LINE_BYTES
"""All that a summary says of a route: its counts, its queue, its rate, and what is amiss."""
SIZE_BYTES: Final = 320
"""What a table, or the runs of a workflow, take up."""
_TEXT_BYTES: Final = 6
"""A character at most: `\\u0000`."""
_RUN_BYTES: Final = 768
"""A run beside its input, key and labels; and the reply to it, should it be refused."""
_STATUS_BYTES: Final = 640
_ITEM_BYTES: Final = 320
_ENTRY_BYTES: Final = 96
_ATTEMPT_BYTES: Final = 112
_TAKEN_BYTES: Final = 20
"""The number of an arrival."""
_ARRIVAL_BYTES: Final = 128
_SEND_BYTES: Final = 320
"""An event on its way, beside its name, key and value."""
_STOP_BYTES: Final = 128
"""A cancel of a child on its way, beside its reason."""
_TIMER_BYTES: Final = 48
_KEY_BYTES: Final = 192
"""What is wanted of a task's key, beside its texts; and what is said of that, beside a result."""
_ROUTE_BYTES: Final = 480
_CODE_CHANGE_BYTES: Final = 320
_STANDING_BYTES: Final = 640


def of_text(text: str | None) -> int:
    """Return the weight of a text, 0 for none."""
    return _TEXT_BYTES * len(text) if text else 0


def of_id(_: str) -> int:
    """Return the weight of a run's id in a list."""
    return ID_BYTES


def of_labels(labels: Mapping[str, str]) -> int:
    """Return the weight of a run's labels."""
    return sum(len(name) + _TEXT_BYTES * len(value) + 6 for name, value in labels.items())


def of_run(run: NewRun | StartOp) -> int:
    """Return the weight of a run that is enqueued or started, or claimed without its journal."""
    weight = _RUN_BYTES + len(run.input)
    options = run.options
    if options is not NO_OPTIONS:
        weight += of_text(options.key) + of_labels(options.labels)
        if options.send is not None:
            weight += len(options.send.name) + len(options.send.value)
        if options.retry is not None:
            weight += RETRY_BYTES
    return weight


def of_status(run: RunStatus) -> int:
    """Return the weight of a run as a reader sees it."""
    weight = _STATUS_BYTES + len(run.output) + len(run.error) + len(run.details)
    for text in (run.key, run.why, run.worker):
        if text:
            weight += _TEXT_BYTES * len(text)
    if run.labels:
        weight += of_labels(run.labels)
    if run.tried is not None:
        weight += of_attempt(run.tried)
    for one in run.progress:
        weight += _ENTRY_BYTES + of_text(one.key) + of_text(one.message)
    if run.waits:
        weight += sum(of_text(word) + 4 for word in run.waits)
    if run.cancel is not None:
        weight += _ENTRY_BYTES + of_text(run.cancel.why) + of_text(run.cancel.actor)
    if run.imported is not None:
        weight += _ITEM_BYTES + sum(
            map(of_text, (run.imported.namespace, run.imported.actor, run.imported.why, run.imported.origin))
        )
    if run.fired is not None:
        weight += _ENTRY_BYTES + of_text(run.fired.schedule)
    return weight


def of_entry(entry: Entry) -> int:
    """Return the weight of a journal entry."""
    taken = _TAKEN_BYTES * len(entry.takes)
    return _ENTRY_BYTES + of_text(entry.key) + len(entry.value) + taken + len(entry.arguments)


def of_attempt(attempt: Attempt) -> int:
    """Return the weight of a try that was not final."""
    return _ATTEMPT_BYTES + of_text(attempt.key) + len(attempt.error) + len(attempt.details) + len(attempt.arguments)


def of_end(end: End | None) -> int:
    """Return the weight of a claim's end, 0 for none."""
    if end is None:
        return 0
    weight = len(end.output) + len(end.error) + len(end.input) + of_text(end.why)
    return weight + sum(of_text(name) + 4 for name in end.waits) if end.waits else weight


def of_arrival(arrival: Arrival) -> int:
    """Return the weight of what has reached a run."""
    return _ARRIVAL_BYTES + of_text(arrival.name) + len(arrival.value)


def of_sent(send: SendOp | Sent) -> int:
    """Return the weight of an event on its way, and of what is said of it."""
    return _SEND_BYTES + of_text(send.name) + of_text(send.key) + len(send.value)


def of_stop(stop: StopOp) -> int:
    """Return the weight of a cancel on its way."""
    return _STOP_BYTES + of_text(stop.reason)


def of_key(ask: KeyAsk) -> int:
    """Return the weight of what is wanted of a task's key."""
    return _KEY_BYTES + of_text(ask.call) + of_text(ask.scope) + of_text(ask.task) + of_text(ask.key)


def of_unit(unit: Unit) -> int:
    """Return the weight of what a claim writes at a time."""
    weight = UNIT_BYTES
    for entry in unit.entries:  # as `of_entry`: a call less on the hot path
        weight += _ENTRY_BYTES + _TEXT_BYTES * len(entry.key) + len(entry.value) + len(entry.arguments)
        weight += _TAKEN_BYTES * len(entry.takes)
    for attempt in unit.attempts:
        weight += of_attempt(attempt)
    if unit.end is not None:
        weight += of_end(unit.end)
    if unit.ops:
        weight += sum(map(of_sent, unit.ops))
    if unit.starts:
        weight += sum(map(of_run, unit.starts))
    if unit.stops:
        weight += sum(map(of_stop, unit.stops))
    if unit.timer is not None:
        weight += _TIMER_BYTES + of_entry(unit.timer.entry)
    if unit.labels:
        weight += of_labels(unit.labels)
    if unit.keys:
        weight += sum(map(of_key, unit.keys))
    return weight


def of_session(session: SessionRow) -> int:
    """Return the weight of a worker's session."""
    return _ITEM_BYTES + of_text(session.worker) + sum(of_text(text) + 4 for route in session.routes for text in route)


def of_item(item: HistoryItem) -> int:
    """Return the weight of one line of a run's story."""
    told = of_text(item.reason) + of_text(item.actor) + of_text(item.key) + of_text(item.worker)
    return _ITEM_BYTES + told + len(item.value) + len(item.arguments)


def _standing(standing: RouteStanding | None) -> int:
    if standing is None:
        return 0
    return _STANDING_BYTES + sum(of_text(name) + 4 for name in (*standing.worker_names, standing.code_by))


def of_code_change(change: CodeChange) -> int:
    """Return the weight of what a session is told of a route whose code has changed."""
    return _CODE_CHANGE_BYTES + of_text(change.worker)


def of_route(route: Route) -> int:
    """Return the weight of a registered route."""
    names = sum(of_text(name) + 4 for name in route.task_names)
    return (
        _ROUTE_BYTES
        + len(route.parameters)
        + len(route.events)
        + names
        + of_text(route.fingerprint)
        + _standing(route.standing)
    )
