"""Own what those who follow a run are told of its calls: what an entry says that has come, and what is open. Pure.

Of what calls were made with, and have brought, nothing is told but the one line of what went wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from aiki.core import keys
from aiki.core.states import TERMINAL, State
from aiki.wire.codec import decoder
from aiki.wire.limits import ERROR_CHARS, FOLLOWED_CALLS
from aiki.wire.messages import CallOutcome, Looked, OpenCall, RunStatus, Said, Started

CHILD: Final = "child"
"""The kind of the key that stands for a child which has not ended: the body alone knows by what key it waits for it."""
MARKS: Final = frozenset({keys.CANCEL, keys.INTERRUPT, keys.RETRY, keys.PATCH, keys.LABELS, keys.START, keys.STARTS})
"""Kinds of entries that are no call of which anybody waits for the outcome."""
TOLD_BYTES: Final = 1024
"""Of the value of an entry that failed, and of an end, as much as is looked at."""
STARTS_BYTES: Final = 32 * 1024
"""Of one that lists children; of a longer one nothing."""
_COMPLETED: Final = f'"{State.COMPLETED}"'.encode()
_Starts: Final = list[tuple[str, str, int]]


class Written(NamedTuple):
    """An entry as far as it is read: of its value what is told of it at most."""

    seq: int
    key: str
    ok: bool
    at: int
    value: bytes | None = None
    started: int | None = None
    worker: str | None = None
    tries: int = 0
    """The try that brought it, as far as tries are on record."""


class Tried(NamedTuple):
    """The last try of a task that is on record and has not brought its outcome."""

    key: str
    attempt: int
    error: bytes | None = None
    """None if it runs, as far as is known."""
    next_at: int | None = None
    said: bytes | None = None
    started: int | None = None


class Child(NamedTuple):
    """A child that has not ended."""

    run_id: str
    workflow: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Kin:
    """The children of a run's generation, as far as they are looked at."""

    states: Mapping[State, int] = field(default_factory=dict)
    open: Sequence[Child] = ()


NO_KIN: Final = Kin()


def outcomes(written: Iterable[Written]) -> tuple[list[CallOutcome], list[tuple[str, str]]]:
    """Return what calls have come to, and which children were started by these entries, by what ends are known by."""
    told: list[CallOutcome] = []
    started: dict[str, str] = {}
    for one in written:
        started |= _started(one)
        if keys.kind_of(one.key) not in MARKS:
            told.append(_outcome(one, started.get(keys.said_in(one.key))))
    return told, list(started.items())


def _outcome(one: Written, run_id: str | None) -> CallOutcome:
    ok, is_end = one.ok, keys.kind_of(one.key) == keys.END
    if is_end and ok:
        ok = one.value is None or one.value == _COMPLETED
    error = "" if ok else _ended_badly(one) if is_end and one.ok else error_line(one.value or b"")
    return CallOutcome(
        one.seq, one.key, ok, one.at, one.started, max(one.tries, 1), error, run_id if is_end else None, one.worker
    )


def _ended_badly(one: Written) -> str:
    """Return how a child has ended that did not complete."""
    state: State | None = _read(one.value, State)
    return "" if state is None else f"it has ended {state}"


def _started(one: Written) -> dict[str, str]:
    """Return the children that an entry has started, or has found, by what follows the kind in their starts' keys."""
    match keys.kind_of(one.key):
        case keys.STARTS:
            listed: list[tuple[str, str, int]] = _read(one.value, _Starts) or []
            return {keys.said_in(key): run_id for key, run_id, _ in listed}
        case keys.START if one.ok:
            known: Started | None = _read(one.value, Started)
            return {} if known is None else {keys.said_in(one.key): known.run_id}
        case _:
            return {}


def error_line(failure: bytes) -> str:
    """Return `type: message` of what is the beginning of a Failure, in one line; "" if it says nothing."""
    text = failure.decode(errors="ignore")
    said = ": ".join(filter(None, (_text(text, "type"), _text(text, "message"))))
    # What a worker has written as an escape may be half a character, which no message can hold.
    line = " ".join(said.split()).encode(errors="replace").decode()
    return line if len(line) <= ERROR_CHARS else f"{line[: ERROR_CHARS - 1]}…"


def _text(text: str, name: str) -> str:
    """Return the text of a member, as far as it is there."""
    found = re.search(rf'"{name}":"((?:[^"\\]|\\.)*)("?)', text)
    if found is None:
        return ""
    try:
        said: str = json.loads(f'"{found[1]}"', strict=False)
    except ValueError:  # it is cut off within an escape
        return found[1]
    return said


def open_calls(run: RunStatus, tries: Sequence[Tried], looked: Looked | None, kin: Kin = NO_KIN) -> list[OpenCall]:
    """Return the calls of a run that have no outcome: as its worker tells, or else as is on record."""
    if run.state in TERMINAL:
        return []
    found: dict[str, OpenCall] = {}
    for call in _open(run, tries, looked, kin):
        found.setdefault(call.key, call)
    return list(found.values())[:FOLLOWED_CALLS]


def _open(run: RunStatus, tries: Sequence[Tried], looked: Looked | None, kin: Kin) -> Iterator[OpenCall]:
    told = looked if looked is not None and looked.held else None
    if told is not None:
        for one in told.tries:
            yield OpenCall(one.key, "running", one.attempt, one.started, fraction=one.fraction, message=one.message)
    for tried in tries:
        if tried.error is not None:
            yield OpenCall(tried.key, "retrying", tried.attempt, tried.started, tried.next_at, error_line(tried.error))
        elif run.state is State.RUNNING and told is None:
            said = _said(tried.said)
            yield OpenCall(
                tried.key, "running", tried.attempt, tried.started, fraction=said.fraction, message=said.message
            )
    for child in kin.open:
        key = keys.named(CHILD, f"{child.workflow}:{child.run_id}")
        yield OpenCall(key, "waiting", started=child.created_at, run_id=child.run_id)
    if told is not None:
        yield from _awaited(told, kin.open)
    elif run.state is not State.RUNNING:
        yield from _rested_for(run)


def _awaited(looked: Looked, children: Collection[Child]) -> Iterator[OpenCall]:
    """Return what the body waits for, in its worker's memory."""
    for key in looked.calls:
        is_told = children and (keys.is_of_ends(key) or keys.kind_of(key) in (keys.START, keys.STARTS))
        if keys.kind_of(key) not in MARKS and not is_told:
            is_timer = keys.timer_of(key) is not None
            yield OpenCall(key, "waiting", next_at=looked.wakes_at if is_timer else None)


def _rested_for(run: RunStatus) -> Iterator[OpenCall]:
    """Return what a run waits for that has left memory; by what keys nobody knows."""
    for word in run.waits:
        if keys.kind_of(word) == keys.EVENT:
            yield OpenCall(word, "waiting", next_at=run.due_at)
    if run.state is State.SLEEPING and run.due_at is not None:
        yield OpenCall(keys.until(run.due_at), "waiting", next_at=run.due_at)


def _said(raw: bytes | None) -> Said:
    said: Said | None = _read(raw, Said)
    return Said() if said is None else said


def _read(raw: bytes | None, kind: Any) -> Any:
    """Return what a worker has written; None if there is nothing, or it cannot be read."""
    try:
        return decoder(kind).decode(raw) if raw else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
