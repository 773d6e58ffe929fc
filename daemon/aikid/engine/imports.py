"""Import runs, part by part: each part one commit, and a repeat changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.core.states import State
from aiki.rules import importing
from aiki.wire.messages import Import, ImportedFrom, ImportReply
from aikid.engine.changes import Changes, Done
from aikid.store import imports as store
from aikid.store import prepared
from aikid.store.pool import Connection, Pool


class _NotWhole(Exception):
    """The last part came, and others before it did not: it is undone."""


async def take(pool: Pool, namespace: str, request: Import, *, room: int) -> Done[ImportReply | AikiError]:
    """Store a part of an exported run, and say what has come of it. Raises Unavailable."""
    try:
        _check(request, room)
    except AikiError as error:
        return Done([error])

    async def work(connection: Connection) -> ImportReply:
        async with prepared.transaction(connection):
            return await _store(connection, namespace, request)

    try:
        reply = await pool.run(work)
    except _NotWhole:
        reply = ImportReply("missing")
    changes = Changes()
    if reply.result == "stored":
        changes.settled[namespace].append(request.id)
    return Done([reply], changes)


async def _store(connection: Connection, namespace: str, request: Import) -> ImportReply:
    if request.run is not None:
        origin = _origin(request, await store.clock(connection))
        await store.begin(connection, namespace, request.run, origin, importing.words(origin))
    found = await store.lock(connection, request.id)
    if found is None:
        return ImportReply("missing")
    owner, imported = found
    if owner != namespace or imported is None:
        return ImportReply("taken")
    if not imported.is_partial:
        return ImportReply("exists")
    if (imported.namespace, imported.exported_at) != (request.namespace, request.exported_at):
        return ImportReply("other")
    await store.add(connection, request)
    if not request.last:
        return ImportReply("stored")
    whole = replace(imported, is_partial=False)
    why = None if importing.stored_state(whole.state) is whole.state else importing.words(whole)
    if not await store.end(connection, request.id, whole, length=request.base + len(request.entries), why=why):
        raise _NotWhole
    return ImportReply("stored")


def _origin(request: Import, now: int) -> ImportedFrom:
    run = request.run
    assert run is not None, "the first part brings it"
    origin = None if run.origin_id == run.id else run.origin_id
    return ImportedFrom(
        request.namespace, run.state, request.exported_at, now, request.actor, run.why, is_partial=True, origin=origin
    )


def _check(request: Import, room: int) -> None:
    """Raise UsageError or PayloadError if this can be no part of an export."""
    if request.run is not None:
        importing.check_run(request.run, room=room)
    importing.check_head(request)
    for name, raw in (("output", request.output), ("error", request.error)):
        if raw:
            importing.check_value(bytes(raw), what=f"`{name}`", room=room)
    importing.check_entries(request.entries, base=request.base, room=room)
    for one in request.tries:
        importing.check_try(one, room=room)
    importing.check_arrivals(request.ends, room=room)
    importing.check_arrivals(request.unread, room=room)
    for move in request.moves:
        importing.check_move(move)


async def among(pool: Pool, namespace: str, run_ids: Sequence[str]) -> dict[str, State]:
    """Return, of runs that an order has passed over, those that were imported. Raises Unavailable."""
    if not run_ids:
        return {}
    known = await pool.run(lambda c: store.known(c, namespace, run_ids))
    return {run_id: State(state) for run_id, state in known.items()}
