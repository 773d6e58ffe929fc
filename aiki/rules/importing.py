"""Own what an imported run is: a copy to look at, which nothing moves. And what it must look like. Pure.

A run that has ended keeps its state; any other is stored as paused, and says what it was. It holds no key, waits for
nothing, has no date and no deadline, and no family: so no loop ever meets it, and no order is obeyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from aiki.core.errors import PayloadError, UsageError
from aiki.core.states import TERMINAL, State
from aiki.rules.arriving import CHILD
from aiki.rules.checking import MICROSECONDS_MAX, check_payload, check_recorded, is_text, is_uuid
from aiki.wire.codec import decoder
from aiki.wire.limits import ENTRIES_HARD, FAMILY_DEPTH, KEY_CHARS, NESTING
from aiki.wire.messages import (
    Attempt,
    ChildEnd,
    Entry,
    Import,
    ImportedArrival,
    ImportedFrom,
    ImportedMove,
    ImportedRun,
    ImportedTry,
    RunOptions,
)
from aiki.wire.messages.options import check_options
from aiki.wire.messages.own_retry import OwnRetry, check_own_retry
from aiki.wire.subjects import is_token, is_version

REFUSED: Final = "was imported, to be looked at: nothing moves it, and it obeys no order"
"""What is said of a run that is to be changed."""
_INTS: Final = range(1 << 31)
_SMALL: Final = range(1, 1 << 15)
_AROUND: Final = 256
"""What an arrival says around the payload that it carries."""
_LEVELS: Final = 2


def stored_state(state: State) -> State:
    """Return the state in which a run is stored that was exported in this one."""
    return state if state in TERMINAL else State.PAUSED


def words(imported: ImportedFrom) -> str:
    """Return why an imported run stands still."""
    said = f"imported from namespace {imported.namespace!r}, where it was {imported.state}"
    if imported.is_partial:
        return f"{said}; its import is not complete: import it again"
    return f"{said}: {imported.why}" if imported.why else said


def check_run(run: ImportedRun, *, room: int) -> None:
    """Raise UsageError or PayloadError if this can be no run, or could not be exported again."""
    for name, run_id in (("id", run.id), ("origin_id", run.origin_id), ("parent", run.parent)):
        if run_id is not None and not is_uuid(run_id):
            raise PayloadError(f"`{name}` is {run_id[:64]!r}, and expected a UUID in its canonical form")
    if not is_token(run.workflow) or not is_version(run.version):
        raise PayloadError(f"workflow {run.workflow[:80]!r} {run.version[:80]!r} has a bad name or version")
    check_options(RunOptions(priority=run.priority, labels=run.labels))
    if run.key is not None and not is_text(run.key, chars=KEY_CHARS):
        raise PayloadError(f"`key` must be 1 to {KEY_CHARS} characters without NUL")
    if not is_plain(run.why or ""):
        raise PayloadError("`why` holds NUL")
    _check_numbers(run)
    for name, raw in (("input", run.input), ("output", run.output), ("error", run.error), ("retry", run.retry)):
        if raw or name == "input":
            check_payload(bytes(raw), what=f"`{name}`", room=room)
    if run.retry:
        _check_retry(run)


def _check_numbers(run: ImportedRun) -> None:
    check_times(run.created_at, run.started_at, run.finished_at, run.first_at)
    if (run.finished_at is None) is (run.state in TERMINAL):
        raise PayloadError(f"it is {run.state}, and `finished_at` says otherwise")
    if run.attempt not in _SMALL or not 0 <= run.depth <= FAMILY_DEPTH:
        raise PayloadError("`attempt` or `depth` is out of range")
    if not all(number in _INTS for number in (run.claims, run.generation, run.news, run.entries)):
        raise PayloadError("`claims`, `generation`, `news` or `entries` is out of range")


def _check_retry(run: ImportedRun) -> None:
    try:
        check_own_retry(decoder(OwnRetry).decode(run.retry))
    except msgspec.MsgspecError as error:
        raise PayloadError(f"`retry`: {error}") from None


def check_head(part: Import) -> None:
    """Raise UsageError or PayloadError if a part says amiss what it is of."""
    if part.run is not None and part.run.id != part.id:
        raise UsageError("a part is of another run than it brings")
    if not is_text(part.namespace, chars=KEY_CHARS) or (part.actor is not None and not is_text(part.actor, chars=256)):
        raise PayloadError("`namespace` and `actor` must be 1 to 256 characters without NUL")
    check_times(part.exported_at)


def check_entries(entries: Sequence[Entry], *, base: int, room: int) -> None:
    """Raise PayloadError if these can be no entries behind `base` others."""
    if not 0 <= base <= ENTRIES_HARD - len(entries):
        raise PayloadError(f"a run's journal holds at most {ENTRIES_HARD:,} entries")
    check_recorded(entries, [], room=room)
    for entry in entries:
        check_value(bytes(entry.value), what=f"the outcome of {entry.key[:100]!r}", room=room)


def check_try(one: ImportedTry, *, room: int) -> None:
    """Raise PayloadError if this can be no try of a task."""
    attempt = Attempt(one.key, one.attempt, one.error, one.next_at, one.details, one.details_at)
    check_recorded([], [attempt], room=room)
    check_times(one.at)
    if one.epoch not in _INTS or one.length not in _INTS:
        raise PayloadError("where the try stands is out of range")


def check_arrivals(arrivals: Iterable[ImportedArrival], *, room: int) -> None:
    """Raise PayloadError if these can be nothing that has reached a run."""
    for one in arrivals:
        if one.number not in _INTS or not is_plain(one.name) or (one.id and not is_uuid(one.id)):
            raise PayloadError(f"arrival {one.number} has a bad number, name or id")
        check_times(one.at)
        check_value(bytes(one.value), what=f"arrival {one.number}", room=room)
        if one.kind == CHILD:
            _check_end(one)


def _check_end(one: ImportedArrival) -> None:
    """Raise PayloadError for what says amiss how a child has ended: who it is, is looked up by its id."""
    try:
        run_id = decoder(ChildEnd).decode(one.value).run_id
    except msgspec.MsgspecError as error:
        raise PayloadError(f"arrival {one.number} is no end of a child: {error}") from None
    if not is_uuid(run_id):
        raise PayloadError(f"arrival {one.number} is no end of a child: its `run_id` is none")


def check_move(one: ImportedMove) -> None:
    """Raise PayloadError if this can be no line of a story."""
    check_times(one.at)
    if one.seq not in _INTS or (one.length is not None and one.length not in _INTS) or not is_token(one.move):
        raise PayloadError("a line of the story has a bad number or move")
    if not is_plain(one.reason or "") or not is_plain(one.actor or ""):
        raise PayloadError("a line of the story holds NUL")


def check_value(raw: bytes, *, what: str, room: int) -> None:
    """Raise PayloadError if this can be nothing that a run has recorded."""
    check_payload(raw, what=what, room=room, around=_AROUND, levels=NESTING + _LEVELS)


def is_plain(text: str) -> bool:
    """Tell whether Postgres can store the text; it may be empty."""
    return "\0" not in text


def check_times(*times: int | None) -> None:
    """Raise PayloadError for a time that no clock shows."""
    if not all(time is None or 0 <= time <= MICROSECONDS_MAX for time in times):
        raise PayloadError("a time is out of range: it is in microseconds since 1970")
