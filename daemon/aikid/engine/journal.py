"""Page journals and history: what a run has recorded, as its worker reads it and as a person does."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import UsageError
from aiki.core.states import Move, State, target
from aiki.wire import weights
from aiki.wire.limits import PAGE_BYTES
from aiki.wire.messages import NONE, History, HistoryItem, HistoryReply, Page, PageReply
from aiki.wire.packing import page as page_of
from aiki.wire.packing import reply_room, too_large
from aikid.engine.status import no_run
from aikid.store import journal as store
from aikid.store import story as lines_of
from aikid.store.pool import Connection, Pool
from aikid.store.story import Line, Place

_CURSOR: Final = re.compile(r"-?[0-9]{1,9}\.-?[0-9]{1,9}\.-?[0-9]{1,9}\.[0-9]{1,9}")
_MOVES: Final = frozenset(move.value for move in Move)
_STORY_ITEMS: Final = 500
_TRIES_MAX: Final = 5_000


async def page(pool: Pool, namespace: str, request: Page, *, room: int) -> PageReply:
    """Return journal entries after `after`, or the tries of tasks after `tried_after`, as many as fit `room`.

    Raises NotFound, Unavailable, and PayloadError if the next entry fits no message.
    """
    run_id = request.run_id

    async def work(connection: Connection) -> PageReply:
        if run_id not in await store.of_namespace(connection, namespace, [run_id]):
            raise no_run(run_id, namespace)
        if request.tried_after is not None:
            return await _tries(connection, run_id, request.tried_after, room)
        return await _entries(connection, run_id, request.after, room)

    return await pool.run(work)


async def _entries(connection: Connection, run_id: str, after: int, room: int) -> PageReply:
    if after >= 1 << 31:
        return PageReply()
    entries = await store.page(connection, run_id, after=after, limit_bytes=min(PAGE_BYTES, room))
    fit = page_of(entries, weights.of_entry, room)
    if fit and weights.of_entry(fit[0]) > reply_room(room):
        raise too_large(f"entry {after + 1} of the journal of run {run_id}", len(fit[0].value), room=room)
    return PageReply(fit)


async def _tries(connection: Connection, run_id: str, after: str, room: int) -> PageReply:
    left = await store.next_attempts(connection, run_id, after=after, limit=_TRIES_MAX)
    return PageReply(attempts=page_of(left, weights.of_attempt, room))


async def story(pool: Pool, namespace: str, request: History, *, room: int) -> HistoryReply:
    """Return a run's story from the cursor on, as much as fits `room`. Raises UsageError, NotFound, Unavailable."""
    after = _place(request.cursor)
    known = await pool.run(lambda c: store.of_namespace(c, namespace, [request.id]))
    if not known:
        raise no_run(request.id, namespace)
    lines = await lines_of.read(pool, request.id, after=after, limit=_STORY_ITEMS + 1, limit_bytes=room)
    items = [_item(line, room) for line in lines[:_STORY_ITEMS]]
    kept = page_of(items, weights.of_item, room)
    return HistoryReply(kept, ".".join(map(str, lines[len(kept) - 1].place)) if len(kept) < len(lines) else None)


def _item(line: Line, room: int) -> HistoryItem:
    item = HistoryItem(
        at=line.at,
        move=line.move,
        state=_state_after(line.move),
        reason=line.reason,
        actor=line.actor,
        key=line.key,
        ok=line.ok,
        value=NONE if line.value is None else Raw(line.value),
        attempt=line.attempt,
        due_at=line.due_at,
        generation=0 if line.move == "event" else line.generation,
        started_at=line.started_at,
        worker=line.worker,
        arguments=NONE if line.arguments is None else Raw(line.arguments),
    )
    if weights.of_item(item) <= reply_room(room):
        return item
    item = replace(item, arguments=NONE)
    if weights.of_item(item) <= reply_room(room):
        return item
    return replace(item, value=NONE, reason=too_large("its value", len(item.value), room=room).message)


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return lines_of.BEGIN
    if not _CURSOR.fullmatch(cursor):
        raise UsageError("the cursor of a history is what an earlier page gave")
    return Place(*map(int, cursor.split(".")))


def _state_after(move: str) -> State | None:
    return target(Move(move)) if move in _MOVES else None
