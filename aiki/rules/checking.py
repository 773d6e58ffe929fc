"""Own what a request's values must look like, checked before anything is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from aiki.core.canonical import nests_too_deep
from aiki.core.errors import PayloadError, UsageError
from aiki.wire import packing
from aiki.wire.limits import KEY_CHARS, LABELS, NESTING
from aiki.wire.messages import NewRun, Record, Request, Status, Watch
from aiki.wire.subjects import is_token, is_version

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_PRIORITIES: Final = range(-100, 101)
_read: Final = msgspec.json.Decoder().decode
MICROSECONDS_MAX: Final = 253_402_300_799_000_000
"""The end of the year 9999: later times fit no Python datetime."""


def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in its canonical form (lower case, with hyphens)."""
    return _UUID.fullmatch(text) is not None


def is_text(text: str, *, chars: int) -> bool:
    """Tell whether Postgres can store `text` (no NUL) and it is not empty and not longer than `chars`."""
    return 0 < len(text) <= chars and "\0" not in text


def check_request(request: Request[Any]) -> None:
    """Raise UsageError if the request as a whole cannot be carried out; it is not even queued.

    What one item of a batch lacks is said of that item, when the batch is carried out.
    """
    match request:
        case Status() | Watch():
            _check_ids(request.ids)
        case Record():
            # A worker sends a run's next unit when it knows what became of the last; several at a time would have to
            # be written one after the other, by a statement for each.
            if len({unit.fence.run_id for unit in request.units}) < len(request.units):
                raise UsageError("a request records at most one unit of each run: send the next after its answer")


def _check_ids(ids: Iterable[str]) -> None:
    for run_id in ids:
        if not is_uuid(run_id):
            raise UsageError(f"run id {run_id[:64]!r} is not a UUID in its canonical form")


def check_run(run: NewRun, *, room: int) -> None:
    """Raise UsageError or PayloadError, with what was expected, if `run` cannot be enqueued or ever be claimed."""
    if not is_uuid(run.id):
        raise UsageError(f"run id {run.id[:64]!r} is not a UUID in its canonical form")
    if not is_token(run.workflow):
        raise UsageError(f"workflow name {run.workflow[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    if not is_version(run.version):
        raise UsageError(f"version {run.version[:80]!r} must be 1 to 32 characters of A-Z a-z 0-9 _ . + -")
    if run.priority not in _PRIORITIES:
        raise UsageError(f"priority {run.priority} is not within -100 to 100")
    if run.key is not None and not is_text(run.key, chars=KEY_CHARS):
        raise UsageError(f"an idempotency key must be 1 to {KEY_CHARS} characters without NUL")
    if run.key is not None and (run.digest is None or not _DIGEST.fullmatch(run.digest)):
        raise UsageError("an idempotency key needs the digest of the input: 32 hexadecimal digits")
    if run.labels:
        _check_labels(run.labels)
    _check_start(run)
    check_payload(bytes(run.input), what="the input", room=room)


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > LABELS:
        raise UsageError(f"a run has at most {LABELS} labels, not {len(labels)}")
    for name, value in labels.items():
        if not is_token(name):
            raise UsageError(f"label name {name[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
        if len(value) > KEY_CHARS or "\0" in value:
            raise UsageError(f"the value of label {name!r} must be at most {KEY_CHARS} characters without NUL")


def _check_start(run: NewRun) -> None:
    if run.start_at is not None and run.delay is not None:
        raise UsageError("give `start_at` or `delay`, not both")
    for name, value in (("start_at", run.start_at), ("delay", run.delay)):
        if value is not None and not 0 <= value <= MICROSECONDS_MAX // 2:
            raise UsageError(f"`{name}` is out of range: {value} microseconds")


def check_payload(raw: bytes, *, what: str, room: int) -> None:
    """Raise PayloadError if `raw` is too long for messages of `room` bytes, or nested too deep, or unreadable.

    Unreadable to clients of ours is text that is not UTF-8, and numbers such as 1e999 or of 5,000 digits. What comes of
    the decoding is thrown away: it is the fastest way to look at all of them.
    """
    if len(raw) > packing.PAYLOAD_BYTES_LEAST:
        packing.check_payload(len(raw), what, room=room)
    if not raw:
        raise PayloadError(f"{what} is missing")
    if nests_too_deep(raw):
        raise PayloadError(f"{what} is nested deeper than {NESTING} levels")
    try:
        _read(raw)
    except UnicodeDecodeError as error:
        raise PayloadError(f"{what} is not UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise PayloadError(f"{what} holds what no client can read: {error}") from error
