"""Read runs by id for many callers at once."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.wire.messages import RunStatus
from aikid.store import status as store
from aikid.store.pool import Pool, Priority

RunKey = tuple[str, str]


async def statuses(pool: Pool, wanted: Sequence[RunKey]) -> dict[RunKey, RunStatus]:
    """Return those of `wanted` that exist. Raises Unavailable."""
    unique = list(dict.fromkeys(wanted))
    if not unique:
        return {}
    return await pool.run(lambda c: store.read(c, unique), priority=Priority.READ)
