"""Decide and commit what is due: runs whose time has come are queued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aikid.engine.changes import Changes
from aikid.store import timers as store
from aikid.store.pool import Pool

_BATCH: Final = 500
_ALREADY_TAKEN_SECONDS: Final = 0.02
"""Due rows that another daemon is waking: look again after this."""


async def wake(pool: Pool) -> AsyncIterator[Changes]:
    """Queue all runs that are due by the database's clock; yield what each commit changed. Raises Unavailable."""
    count = _BATCH
    while count == _BATCH:
        woken = await pool.run(lambda c: store.wake(c, limit=_BATCH))
        count = len(woken)
        if woken:
            changes = Changes()
            for namespace, workflow, version, run_id in woken:
                changes.queued[namespace, workflow, version] += 1
                changes.woken[namespace, workflow, version] += 1
                changes.changed[namespace].append(run_id)
            yield changes


async def seconds_to_next(pool: Pool) -> float | None:
    """Return in how many seconds to look for the next run that is due, or its deadline; None if there is none.

    Raises Unavailable.
    """
    seconds = await pool.run(store.seconds_to_next)
    return seconds if seconds is None or seconds > 0 else _ALREADY_TAKEN_SECONDS
