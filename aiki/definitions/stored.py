"""Own the reading of stored values without their types: JSON that somebody else wrote.

It may hold what Python cannot, such as the number 1e999, an integer of 5,000 digits, or bytes that are no text. Such a
value must not end the reading of all that stands beside it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from aiki.wire import codec
from aiki.wire.messages import Failure

_CHARS: Final = 2_000


class Unreadable(str):
    """The raw text of a value that cannot be read, with a word about it in the end. A program tells it by its class."""

    __slots__ = ()


def read(raw: Raw | bytes) -> Any:
    """Return the value in `raw` as plain JSON types; as Unreadable if it cannot be read, None if there is none."""
    data = bytes(raw)
    if not data:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(data, error)


def read_failure(raw: Raw | bytes) -> Failure | None:
    """Return the failure in `raw`, None if there is none; one that cannot be read has its raw text as message."""
    data = bytes(raw)
    if not data:
        return None
    try:
        failure: Failure = codec.decoder(Failure).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("Unknown", _unreadable(data, error))
    return failure


def _unreadable(data: bytes, error: Exception) -> Unreadable:
    text = data.decode(errors="backslashreplace")
    shown = text if len(text) <= _CHARS else f"{text[:_CHARS]}… ({len(text):,} characters)"
    return Unreadable(f"{shown} [cannot be read: {error}]")
