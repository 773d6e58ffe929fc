"""Open, renew and close worker sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from aiki.core.errors import Unavailable, UsageError
from aiki.rules.checking import check_routes
from aiki.rules.codes import Registered, RouteKey
from aiki.wire.limits import TOLD_RUNS
from aiki.wire.messages import CloseSession, CodeChange, OpenSession, RenewSession, Route, SessionReply
from aiki.wire.subjects import is_token
from aiki.wire.weights import FENCE_BYTES, ID_BYTES, NEWS_BYTES
from aikid.engine import codes
from aikid.engine.changes import Done
from aikid.engine.rescue import changes_of
from aikid.engine.routes import Routes
from aikid.store import prepared, rescue
from aikid.store import sessions as store
from aikid.store.pool import Connection, Pool
from aikid.store.rescue import Lost, Rescued
from aikid.store.sessions import Held, Lease

log = logging.getLogger("aikid")


async def open_session(pool: Pool, routes: Routes, namespace: str, request: OpenSession, *, room: int) -> SessionReply:
    """Open a session and register its routes, and say of which the code has changed while runs are in flight.

    Raises UsageError, PayloadError and Unavailable.
    """
    check_routes(request.routes)
    known = _folded(request.routes)
    await routes.register(namespace, known.values())

    async def work(connection: Connection) -> tuple[Lease, dict[RouteKey, Registered]]:
        async with prepared.transaction(connection):
            lease = await store.open(connection, namespace, request, known)
            return lease, await codes.register(connection, namespace, request, known) if lease.alive else {}

    lease, changed = await pool.run(work)
    return SessionReply(lease.alive, lease.now, lease.ttl, changed=await _changes(pool, namespace, changed, room=room))


async def _changes(
    pool: Pool, namespace: str, changed: Mapping[RouteKey, Registered], *, room: int
) -> list[CodeChange]:
    """Return what is said of routes that have other code; nothing if that cannot be counted: the session is open."""
    try:
        return await codes.changes(pool, namespace, changed, room=room)
    except Unavailable as error:
        log.warning("a worker is not told of the runs that other code of its workflows has begun: %s", error)
        return []


def _folded(routes: Sequence[Route]) -> dict[tuple[str, str], Route]:
    """Return the routes by name and version; one that is named twice must be the same both times."""
    known: dict[tuple[str, str], Route] = {}
    for route in routes:
        if known.setdefault((route.workflow, route.version), route) != route:
            name = f"route {route.workflow!r} {route.version!r}"
            raise UsageError(f"{name} is named twice, with different schemas or tasks: name it once")
    return known


async def renew_sessions(pool: Pool, calls: Sequence[tuple[str, RenewSession]], *, room: int) -> list[SessionReply]:
    """Renew many sessions in one commit; of each say what it holds otherwise than it says, and which runs have news.

    That is as many as fit `room`. Raises Unavailable.
    """
    keys = [(namespace, request.id) for namespace, request in calls]
    held = [_held(request) for _, request in calls]
    draining = [request.draining for _, request in calls]
    most_news = min(TOLD_RUNS, room // 2 // NEWS_BYTES)

    async def work(connection: Connection) -> list[SessionReply]:
        now, leases = await store.renew(connection, keys, draining)
        if not leases:
            return [SessionReply(False, now) for _ in keys]
        news = await store.news(connection, keys, most=most_news)
        left = room - NEWS_BYTES * max(map(len, news))
        differing = await store.compare(connection, keys, held, most=left // (FENCE_BYTES + ID_BYTES))
        return [
            SessionReply(True, now, leases[key], held.unlisted, told, held.short)
            if key in leases
            else SessionReply(False, now)
            for key, held, told in zip(keys, differing, news, strict=True)
        ]

    return await pool.run(work)


async def close_session(pool: Pool, namespace: str, request: CloseSession) -> Done[SessionReply]:
    """End a session, and queue the runs again that it still held.

    Of very many some are left to the rescuer, as all are if this raises Unavailable.
    """

    async def work(connection: Connection) -> tuple[int, list[Rescued]]:
        await store.close(connection, namespace, request.id)
        await rescue.fence(connection, Lost.OF_ONE, namespace, request.id)
        taken = await rescue.take(connection, Lost.OF_ONE, namespace, request.id)
        return await store.now(connection), taken

    now, taken = await pool.run(work)
    return Done([SessionReply(alive=False, now=now)], changes_of(taken))


def _held(request: RenewSession) -> Held:
    """Return what the session holds; what cannot be a claim's id names none, and Postgres might refuse it.

    Who does not say how many runs a claim has is short of none.
    """
    counts = dict(zip(request.held, request.counts, strict=False))
    claims = {claim_id: counts.get(claim_id, 0) for claim_id in request.held if is_token(claim_id)}
    after, until = (bound if bound and is_token(bound) else None for bound in (request.after, request.until))
    return Held(claims, after or "", until)
