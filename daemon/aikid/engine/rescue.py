"""Decide and commit what happens to the runs of dead sessions: they are queued again, or set aside.

Each statement is a commit of its own: see `store.rescue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.states import SETTLED, State
from aikid.engine.changes import Changes
from aikid.store import rescue as store
from aikid.store.pool import Pool
from aikid.store.rescue import Lost, Rescued, Swept

_UNTOLD_SECONDS: Final = 1.5


async def bury(pool: Pool) -> Swept:
    """End the sessions that died, but for those that could not renew. Raises Unavailable."""
    swept = await pool.run(store.sweep)
    if swept.buried:
        failpoint("rescuer.buried")
    return swept


async def take_back(pool: Pool, swept: Swept, *, orphans: bool) -> Changes:
    """Take their runs from sessions that were closed lately; with `orphans` also all that have no session.

    Raises Unavailable.
    """
    taken: list[Rescued] = []
    if swept.closed_seconds is not None and swept.closed_seconds < store.CLOSED_SECONDS:
        taken += await _take(pool, Lost.OF_CLOSED)
    if orphans:
        taken += await _take(pool, Lost.ORPHANS)
    return changes_of(taken)


def may_be_untold(swept: Swept) -> bool:
    """Tell whether another daemon may just have taken runs, and died or frozen before it told of them."""
    return swept.closed_seconds is not None and swept.closed_seconds < _UNTOLD_SECONDS


async def forget_sessions(pool: Pool) -> None:
    """Delete what is kept of sessions that ended long ago. Raises Unavailable."""
    await pool.run(store.forget_sessions)


def changes_of(taken: Sequence[Rescued]) -> Changes:
    """Return what changed for runs that were taken from their worker."""
    changes = Changes()
    for one in taken:
        if one.state is State.QUEUED:
            changes.queued[one.namespace, one.workflow, one.version] += 1
        (changes.settled if one.state in SETTLED else changes.changed)[one.namespace].append(one.id)
        changes.due_in(one.due_seconds)
    return changes


async def _take(pool: Pool, lost: Lost) -> list[Rescued]:
    taken: list[Rescued] = []
    while True:
        if await pool.run(lambda c: store.fence(c, lost)):
            failpoint("rescuer.fenced")
        some = await pool.run(lambda c: store.take(c, lost))
        taken += some
        if len(some) < store.TAKEN:
            return taken
