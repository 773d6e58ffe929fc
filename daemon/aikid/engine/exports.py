"""Export runs: what the next claim of each would bring, read of one moment, without a claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import State
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NONE, NULL, Claimed, Export, Exported, ExportReply, ImportedFrom
from aiki.wire.packing import fitting, reply_room, too_large
from aikid.engine.claims import described, journals, unread_of
from aikid.store import exports as store
from aikid.store.exports import ExportedRow
from aikid.store.pool import Connection, Pool

T = TypeVar("T")
_labels = msgspec.json.Decoder(dict[str, str])


async def export(pool: Pool, namespace: str, request: Export, *, room: int) -> ExportReply:
    """Return the runs as their next claims would find them, as many as fit `room`; unknown ids are left out.

    One that is named several times is told once. Raises Unavailable, and PayloadError for a first run that fits no
    message.
    """
    if not request.ids:
        return ExportReply([], await pool.run(store.clock))
    ids = list(dict.fromkeys(request.ids))

    async def work(connection: Connection) -> tuple[int, int, list[Exported]]:
        async with store.snapshot(connection):
            now, looked, rows = await store.read(connection, namespace, ids, limit_bytes=room * 5 // 8)
            return now, looked, await _filled(connection, namespace, rows, room=room)

    now, looked, runs = await pool.run(work)
    sizes = [len(encode(run)) + 1 for run in runs]
    if runs and sizes[0] > reply_room(room):
        runs, sizes = [_lightened(runs[0], room)], [0]
        looked = ids.index(runs[0].run.fence.run_id) + 1
    count = fitting(sizes, reply_room(room))
    if count < len(runs):
        looked = ids.index(runs[count].run.fence.run_id)
    rest = len(request.ids) - request.ids.index(ids[looked]) if looked < len(ids) else 0
    return ExportReply(runs[:count], now, rest)


async def _filled(connection: Connection, namespace: str, rows: list[ExportedRow], *, room: int) -> list[Exported]:
    def ask(work: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]:
        return work(connection)

    begun = [row.id for row in rows if row.epoch > 0 or row.attempt > 1]
    found = await journals(ask, begun, rows, room=room)
    unread = await unread_of(ask, namespace, rows, found.pages, room=room, ended=True)
    return [_exported(row, described(row, "", found, unread.get(row.id))) for row in rows]


def _exported(row: ExportedRow, run: Claimed) -> Exported:
    output, error = (NONE if raw is None else Raw(raw) for raw in (row.output, row.error))
    one = Exported(run, State(row.state), row.created_at, row.finished_at, output, error, row.why)
    one.waits, one.due_at = row.waits or [], row.due_at
    if row.imported is not None:
        one.imported = decoder(ImportedFrom).decode(row.imported)
        one.state, one.why = one.imported.state, one.imported.why
        one.run.origin_id = one.imported.origin or row.origin_id
    return one


def _lightened(one: Exported, room: int) -> Exported:
    """Return a run without what is read by Page, Inbox and Input, so that it fits a message of `room` bytes alone."""
    run = one.run
    bare = replace(run, entries=[], attempts=[], arrivals=[], news=0 if run.arrivals else run.news)
    light = replace(one, run=bare)
    if len(encode(light)) > reply_room(room):
        light = replace(one, run=replace(bare, input=NULL))
    if (size := len(encode(light))) > reply_room(room):
        raise too_large(f"run {run.fence.run_id}", size, room=room)
    return light
