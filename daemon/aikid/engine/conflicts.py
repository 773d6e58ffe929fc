"""Carry out what enqueues say of a key that is held: an ended run gives it up to a new one, a failed one is retried.

Both stand in the transaction that stores the new runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiki.core.errors import Conflict
from aiki.rules.enqueueing import Stored, is_retried, refused
from aiki.wire.messages import Enqueued, NewRun, Retry
from aikid.engine import retries
from aikid.engine.changes import Changes
from aikid.store import enqueue as store
from aikid.store.enqueue import Row
from aikid.store.pool import Connection

_AS_IT_FAILED: Final = Retry([])


async def free(connection: Connection, rows: Sequence[Row]) -> None:
    """Take the keys from runs that have ended, where their new holders want that."""
    taking = [row for row in rows if row[1].options.on_conflict == "restart" and row[1].options.key is not None]
    if taking:
        await store.free_keys(connection, taking)


async def retry(
    connection: Connection, rows: Sequence[Row], answers: Sequence[Enqueued], holders: Mapping[int, Stored]
) -> tuple[list[Enqueued], Changes]:
    """Retry the failed runs that were found, by their places, where that is wanted; return the answers then."""
    made, changes = list(answers), Changes()
    for place, holder in holders.items():
        namespace, run = rows[place]
        if is_retried(run, holder):
            made[place], more = await retry_one(connection, namespace, run, holder)
            changes.add(more)
    return made, changes


async def retry_one(connection: Connection, namespace: str, run: NewRun, holder: Stored) -> tuple[Enqueued, Changes]:
    """Retry the run that has the key of another one; return the answer to that, and what it has changed."""
    changes = Changes()
    done = await retries.renew(connection, namespace, holder.id, _AS_IT_FAILED)
    done.note(changes, namespace)
    if words := done.outcome.words():
        return refused(holder.id, Conflict(f"key {run.options.key!r} has a run that failed: {words}")), changes
    return Enqueued(done.outcome.run_id, created=False), changes
