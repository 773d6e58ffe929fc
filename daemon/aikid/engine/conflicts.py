"""Carry out what enqueues say of a key that is held: an ended run gives it up to a new one, a failed one is retried.

Both stand in the transaction that stores the new runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiki.core.errors import Conflict
from aiki.rules.enqueueing import Stored, is_retried, refused
from aiki.wire.messages import Enqueued, NewRun, Redone, Retry
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
    wanted = {place: holder for place, holder in holders.items() if is_retried(rows[place][1], holder)}
    if wanted:
        of = {holder.id: rows[place][0] for place, holder in wanted.items()}
        found = await retries.renew_all(connection, of, _AS_IT_FAILED, changes)
        for place, holder in wanted.items():
            made[place] = _answer(rows[place][1], holder, found[holder.id])
    return made, changes


async def retry_one(connection: Connection, namespace: str, run: NewRun, holder: Stored) -> tuple[Enqueued, Changes]:
    """Retry the run that has the key of another one; return the answer to that, and what it has changed."""
    changes = Changes()
    done = await retries.renew(connection, namespace, holder.id, _AS_IT_FAILED)
    done.note(changes, namespace)
    return _answer(run, holder, done.outcome), changes


def _answer(run: NewRun, holder: Stored, redone: Redone) -> Enqueued:
    if words := redone.words():
        return refused(holder.id, Conflict(f"key {run.options.key!r} has a run that failed: {words}"))
    return Enqueued(redone.run_id, created=False)
