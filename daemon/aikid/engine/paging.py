"""Own the cursors of lists that are paged by how far they were read."""

from __future__ import annotations

import re

from aiki.core.errors import UsageError


def offset(cursor: str | None) -> int:
    """Return how much was read before. Raises UsageError for what no page gave."""
    if cursor is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", cursor):
        raise UsageError("the cursor is a number that an earlier page gave")
    return int(cursor)


def next_cursor(reached: int, *, more: bool) -> str | None:
    """Return the cursor of the next page, None if there is none."""
    return str(reached) if more else None
