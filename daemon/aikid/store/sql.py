"""Own the fragments that several statements share."""

from collections.abc import Iterable
from typing import Final

MICROSECONDS: Final = "(extract(epoch FROM {}) * 1000000)::bigint"
"""A timestamptz as the wire has it; exact, since `extract` returns numeric."""


def counting(words: str, number: str) -> str:
    """Return our own words with `number`, a column, in the place of `{}`."""
    before, after = (part.replace("'", "''") for part in words.split("{}"))
    return f"'{before}' || {number} || '{after}'"


def quoted(words: Iterable[str]) -> str:
    """Return our own words (states, events) as the inside of an IN list."""
    return ", ".join(f"'{word}'" for word in sorted(words))
