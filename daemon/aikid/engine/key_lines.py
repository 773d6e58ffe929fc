"""Decide and commit who is told that a task's key may be asked for again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.rules.sharing import TOLD, stand, to_tell
from aikid.engine.arrivals import note
from aikid.engine.changes import Changes
from aikid.store import key_lines as store
from aikid.store import prepared
from aikid.store.key_lines import BATCH, Line
from aikid.store.pool import Connection, Pool
from aikid.store.task_keys import KeyId

STEPS: Final = 10
"""Batches of keys in one look."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a batch of keys that are waited for has come to."""

    changes: Changes
    count: int
    """How many keys it was."""
    then: KeyId | None
    """Behind which key to look next; None if these were the last, and all were told."""


async def tell_of(pool: Pool, keys: Sequence[KeyId]) -> AsyncIterator[Changes]:
    """Tell whoever waits for these keys, if they stand so; yield what each commit changed. Raises Unavailable."""
    for start in range(0, len(keys), BATCH):
        some, more = keys[start : start + BATCH], True
        while more:
            changes, more = await pool.run(partial(_tell_of, keys=some))
            yield changes


async def walk(pool: Pool, after: KeyId) -> AsyncIterator[Look]:
    """Look at keys behind `after` that are waited for, as many as one look takes. Raises Unavailable."""
    then: KeyId | None = after
    for _ in range(STEPS):
        if then is None:
            return
        looked = await pool.run(partial(_walk, after=then))
        then = looked.then
        yield looked


async def _tell_of(connection: Connection, keys: Sequence[KeyId]) -> tuple[Changes, bool]:
    return await _tell(connection, await store.look(connection, keys))


async def _walk(connection: Connection, after: KeyId) -> Look:
    lines = await store.walk(connection, after)
    changes, more = await _tell(connection, lines)
    last = lines[-1].key if len(lines) == BATCH else None
    return Look(changes, len(lines), after if more else last)


async def _tell(connection: Connection, lines: Sequence[Line]) -> tuple[Changes, bool]:
    """Tell of those keys that stand so; return what that changed, and whether there are more to be told at once."""
    wanted = [(line.key, most) for line in lines if (most := _to_tell(line))]
    waiters = await store.first(connection, wanted) if wanted else []
    changes = Changes()
    if waiters:
        async with prepared.transaction(connection):
            failpoint("keys.before_commit")
            note(changes, await store.tell(connection, waiters))
        failpoint("keys.before_tell")
    return changes, len(waiters) == TOLD or any(waiter.is_gone for waiter in waiters)


def _to_tell(line: Line) -> int:
    found = line.found
    how = stand(found.row, found.owner, left_lives=found.left_lives, now=line.now)
    return to_tell(how, told_at=line.told_at, now=line.now)
