"""Decide and commit what is still to be told of runs that ended or are cancelled: to parents, watchers and children."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.wire.messages import CancelNote
from aikid.engine.arrivals import note
from aikid.engine.changes import Changes
from aikid.engine.control import note_cancelled
from aikid.store import cancels, errands, prepared
from aikid.store.pool import Connection, Pool

_NOTE: Final = CancelNote(reason="parent")


async def do(pool: Pool) -> AsyncIterator[Changes]:
    """Do all errands that nobody else does; yield what each commit changed. Raises Unavailable.

    Children first: one that ends at once, since it has not begun, leaves an errand itself.
    """
    if not await pool.run(errands.are_left):
        return
    for step in (_close, _tell):
        more = True
        while more:
            changes, more = await pool.run(step)
            failpoint("errand.before_tell")
            yield changes


async def _tell(connection: Connection) -> tuple[Changes, bool]:
    failpoint("errand.before_commit")
    reached, more = await errands.tell(connection)
    changes = Changes()
    note(changes, reached)
    return changes, more


async def _close(connection: Connection) -> tuple[Changes, bool]:
    changes = Changes()
    async with prepared.transaction(connection):
        closing = await errands.next_to_close(connection)
        for namespace, children in closing.children.items():
            found = await cancels.cancel(connection, namespace, children, _NOTE, force=False)
            note_cancelled(changes, namespace, found)
        if closing.parents:
            await errands.closed(connection, closing.parents)
    return changes, closing.more
