"""Own what a request's values must look like, checked before anything is written. Pure."""

from __future__ import annotations

import re
from typing import Final

from aiki.core.errors import PayloadError, UsageError
from aiki.wire.limits import KEY_CHARS, LABELS, NESTING, PAYLOAD_BYTES
from aiki.wire.messages import NewRun
from aiki.wire.subjects import is_token, is_version

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_PRIORITIES: Final = range(-100, 101)
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
MICROSECONDS_MAX: Final = 253_402_300_799_000_000
"""The end of the year 9999: later times fit no Python datetime."""


def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in its canonical form (lower case, with hyphens)."""
    return _UUID.fullmatch(text) is not None


def is_text(text: str, *, chars: int) -> bool:
    """Tell whether Postgres can store `text` (no NUL) and it is not empty and not longer than `chars`."""
    return 0 < len(text) <= chars and "\0" not in text


def check_run(run: NewRun) -> None:
    """Raise UsageError or PayloadError, with what was expected, if `run` cannot be enqueued."""
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
    check_payload(bytes(run.input), what="the input")


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


def check_payload(raw: bytes, *, what: str, limit_bytes: int = PAYLOAD_BYTES) -> None:
    """Raise PayloadError if `raw` is too long, not UTF-8 or nested too deep. Its syntax msgspec has seen already."""
    if len(raw) > limit_bytes:
        raise PayloadError(f"{what} has {len(raw):,} bytes; the limit is {limit_bytes:,}")
    if not raw:
        raise PayloadError(f"{what} is missing")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(f"{what} is not UTF-8: byte {error.start}") from error
    if raw.count(b"[") + raw.count(b"{") > NESTING and _depth(raw) > NESTING:
        raise PayloadError(f"{what} is nested deeper than {NESTING} levels")


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(raw):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest
