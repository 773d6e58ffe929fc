"""Own the options of a run: one frozen value from the person's hand to the row, and the rule for each, once.

It stands beside the messages because both ends keep its rules: who enqueues, to say at once what is wrong, and the
daemon, which trusts no client. So a new option is a field and a rule here, a keyword for people (`definitions`), a
flag, and a column. In a message it is one member, left out where nothing is set, and nobody copies its parts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from msgspec import Meta, Raw, Struct

from aiki.core.duration import LONGEST
from aiki.core.errors import UsageError
from aiki.wire.limits import KEY_CHARS, LABELS, LIST_ITEMS
from aiki.wire.messages.base import NULL, Text
from aiki.wire.messages.own_retry import OwnRetry, check_own_retry
from aiki.wire.subjects import is_token

OnConflict: TypeAlias = Literal["error", "existing", "retry_failed", "restart"]
ParentClose: TypeAlias = Literal["cancel", "abandon", "wait"]
"""What becomes of a child when its parent ends: it is cancelled, goes on, or the parent ends after it."""

HIGHEST_PRIORITY: Final = 100
_SHOWN_CHARS: Final = 60
LATEST: Final = 253_402_300_799_000_000 // 2
"""Microseconds: no start and no delay lies beyond, so that their sum with a time of now fits every datetime."""


class FirstEvent(Struct, frozen=True, array_like=True):
    """An event that a run is sent by its enqueue, in one commit. The enqueue's own run id is the id of the send."""

    name: Text
    value: Raw = NULL


class Fired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which slot of a schedule a run is of."""

    schedule: Text
    """Its name."""
    slot: int
    last_completed: int | None = None
    """The greatest slot whose run had completed by then."""
    kind: Literal["slot", "trigger", "backfill"] = "slot"
    """A trigger's slot is when it was asked for."""


class RunOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run is enqueued."""

    key: Text | None = None
    """The idempotency key, unique per (namespace, workflow)."""
    on_conflict: OnConflict = "error"
    """What a key means that is held: with another input an error, or the `existing` run all the same. One that has
    failed is retried, or whatever has ended gives its key up to a new one."""
    priority: int | None = None
    """Higher is claimed first. Without it a child has its parent's, and any other run 0."""
    labels: Annotated[dict[Text, Text], Meta(max_length=LIST_ITEMS)] = {}
    start_at: int | None = None
    """Microseconds since the epoch."""
    delay: int | None = None
    """Microseconds from the commit."""
    timeout: int | None = None
    """Microseconds, from when it may start, within which it must end."""
    cancel_timeout: int | None = None
    """Microseconds that it may take to end, and to take back what it did, once it was told to."""
    send: FirstEvent | None = None
    """What the run is sent, be it new or found by its key."""
    retry: OwnRetry | None = None
    """When its workflow is tried again after a failure, as far as that is said of this run."""
    fired: Fired | None = None
    """The slot that it is of. No client says so: the daemon does, when it fires a schedule."""


NO_OPTIONS: Final = RunOptions()


def check_options(options: RunOptions) -> None:
    """Raise UsageError if the options cannot be carried out, whatever type the values have that a person gave."""
    if options.key is not None:
        check_key(options.key)
    if options.on_conflict not in get_args(OnConflict):
        words = ", ".join(f'"{word}"' for word in get_args(OnConflict))
        raise UsageError(f"on_conflict={_shown(options.on_conflict)}: it must be one of {words}")
    if not _is_priority(options.priority):
        raise UsageError(f"priority={_shown(options.priority)}: it must be a whole number from -100 to 100")
    if options.labels:
        check_labels(options.labels)
    if options.start_at is not None or options.delay is not None:
        _check_start(options)
    if options.timeout is not None or options.cancel_timeout is not None:
        _check_timeouts(options)
    if options.send is not None:
        _check_first(options.send)
    if options.retry is not None:
        check_own_retry(options.retry)
    if options.fired is not None:
        raise UsageError("`fired` is for schedules alone", hint="client.schedules.create(...)")


def _is_priority(value: Any) -> bool:
    return value is None or (type(value) is int and -HIGHEST_PRIORITY <= value <= HIGHEST_PRIORITY)


def check_key(key: Any) -> None:
    """Raise UsageError if an idempotency key, of a run or a task, is empty, too long or not to be stored."""
    if not isinstance(key, str) or not _is_storable(key, least=1):
        reason = f"it must be 1 to {KEY_CHARS} characters, without control characters"
        raise UsageError(f"idempotency_key={_shown(key)}: {reason}")


def check_labels(labels: Mapping[Any, Any]) -> None:
    """Raise UsageError if a run cannot have these labels."""
    if len(labels) > LABELS:
        raise UsageError(f"a run has at most {LABELS} labels, not {len(labels)}")
    for name, value in labels.items():
        if not isinstance(name, str) or not is_token(name):
            raise UsageError(f"label {_shown(name)}: a label's name is 1 to 64 of A-Z a-z 0-9 _ -")
        if not isinstance(value, str) or not _is_storable(value, least=0):
            raise UsageError(
                f"label {name!r}={_shown(value)}: a label's value is text of at most {KEY_CHARS} characters, "
                "without control characters"
            )


def _check_start(options: RunOptions) -> None:
    if options.start_at is not None and options.delay is not None:
        raise UsageError("`delay` and `start_at` exclude each other: give one, not both")
    if options.start_at is not None and options.start_at < 0:
        raise UsageError("`start_at` lies before 1970")
    for name, value in (("start_at", options.start_at), ("delay", options.delay)):
        if value is not None and not 0 <= value <= LATEST:
            raise UsageError(f"`{name}` is out of range: {value} microseconds")


def _check_timeouts(options: RunOptions) -> None:
    if options.timeout == 0:
        raise UsageError("`timeout` must be longer than 0: no run could end in time")
    for name, value in (("timeout", options.timeout), ("cancel_timeout", options.cancel_timeout)):
        if value is not None and not 0 <= value <= LONGEST:
            raise UsageError(f"`{name}` is out of range: {value} microseconds")


def _check_first(event: Any) -> None:
    if not isinstance(event, FirstEvent):
        raise UsageError(f"send={_shown(event)}: it must be an event with its value", hint="send=approved.bind(...)")
    if not is_token(event.name):
        raise UsageError(f"event {_shown(event.name)}: an event's name is 1 to 64 of A-Z a-z 0-9 _ -")


def _is_storable(text: str, *, least: int) -> bool:
    """Tell whether `text` is not too long, and fits a line of output and UTF-8."""
    if not least <= len(text) <= KEY_CHARS:
        return False
    return text.isprintable() or not any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)


def _shown(value: object) -> str:
    """Return the value for a message, cut: a thousand refusals must fit one reply."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
