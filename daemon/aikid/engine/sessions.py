"""Open, renew and close worker sessions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from aiki.core.errors import AikiError, PayloadError, UsageError
from aiki.rules.checking import is_text, is_uuid
from aiki.wire import schema
from aiki.wire.messages import CloseSession, OpenSession, RenewSession, Route, SessionReply
from aiki.wire.schema import BadSchema
from aiki.wire.subjects import is_token, is_version
from aikid.engine.changes import Done
from aikid.engine.rescue import changes_of
from aikid.engine.routes import Routes
from aikid.store import rescue
from aikid.store import sessions as store
from aikid.store.pool import Connection, Pool, Priority
from aikid.store.rescue import Lost, Rescued
from aikid.store.sessions import Held

_FENCE_BYTES: Final = 256
"""A run that a renewal names, at most."""
_TTL_SECONDS: Final = (0.5, 3600.0)


async def open_session(pool: Pool, routes: Routes, namespace: str, request: OpenSession) -> SessionReply:
    """Open a session and register its routes. Raises UsageError and Unavailable."""
    _check_open(request)
    known = _folded(request.routes)
    await routes.register(namespace, known.values())
    lease = await pool.run(lambda c: store.open(c, namespace, request, known), priority=Priority.LEASE)
    return SessionReply(lease.alive, lease.now, lease.ttl)


def _check_open(request: OpenSession) -> None:
    _check_id(request.id)
    if not is_text(request.worker, chars=256):
        raise UsageError("a worker's name must be 1 to 256 characters without NUL")
    low, high = _TTL_SECONDS
    if not math.isfinite(request.ttl) or not low <= request.ttl <= high:
        raise UsageError(f"a lease must be {low:g} to {high:g} seconds, not {request.ttl:g}")
    if sum(bytes(route.parameters).count(b"{") for route in request.routes) > schema.OBJECTS:
        raise PayloadError(f"the schemas of a worker's routes have more than {schema.OBJECTS:,} objects together")
    for route in request.routes:
        _check_route(route)


def _check_route(route: Route) -> None:
    if not is_token(route.workflow) or not is_version(route.version):
        raise UsageError(f"route {route.workflow[:80]!r} {route.version[:80]!r} has a bad name or version")
    if not all(map(is_token, route.task_names)):
        raise UsageError(f"route {route.workflow!r} {route.version!r} has a bad task name")
    if raw := bytes(route.parameters):
        try:
            schema.parse(raw)
        except BadSchema as error:
            raise PayloadError(f"the schema of {route.workflow!r} {route.version!r} is refused: {error}") from error


def _folded(routes: Sequence[Route]) -> dict[tuple[str, str], Route]:
    """Return the routes by name and version; one that is named twice must be the same both times."""
    known: dict[tuple[str, str], Route] = {}
    for route in routes:
        if known.setdefault((route.workflow, route.version), route) != route:
            name = f"route {route.workflow!r} {route.version!r}"
            raise UsageError(f"{name} is named twice, with different schemas or tasks: name it once")
    return known


async def renew_sessions(
    pool: Pool, calls: Sequence[tuple[str, RenewSession]], *, room: int
) -> list[SessionReply | AikiError]:
    """Renew many sessions in one commit; of each say which of its runs it did not name, as many as fit `room`.

    Raises Unavailable.
    """
    good = [(namespace, request) for namespace, request in calls if is_uuid(request.id)]
    keys = [(namespace, request.id) for namespace, request in good]
    held = [_held(request) for _, request in good]
    most = room // _FENCE_BYTES

    async def work(connection: Connection) -> list[SessionReply]:
        now, leases = await store.renew(connection, keys)
        unlisted = await store.unlisted(connection, keys, held, most=most) if leases else [[] for _ in keys]
        return [
            SessionReply(True, now, leases[key], lost) if key in leases else SessionReply(False, now)
            for key, lost in zip(keys, unlisted, strict=True)
        ]

    replies = iter(await pool.run(work, priority=Priority.LEASE))
    return [
        next(replies) if is_uuid(request.id) else UsageError(f"session id {request.id[:64]!r} is not a UUID")
        for _, request in calls
    ]


async def close_session(pool: Pool, namespace: str, request: CloseSession) -> Done[SessionReply]:
    """End a session, and queue the runs again that it still held.

    Of very many some are left to the rescuer, as all are if this raises Unavailable. Raises UsageError.
    """
    _check_id(request.id)

    async def work(connection: Connection) -> tuple[int, list[Rescued]]:
        await store.close(connection, namespace, request.id)
        await rescue.fence(connection, Lost.OF_ONE, namespace, request.id)
        taken = await rescue.take(connection, Lost.OF_ONE, namespace, request.id)
        return await store.now(connection), taken

    now, taken = await pool.run(work, priority=Priority.LEASE)
    return Done([SessionReply(alive=False, now=now)], changes_of(taken))


def _held(request: RenewSession) -> Held:
    """Return what the session holds; what cannot be a claim's id names none, and Postgres might refuse it."""
    claim_ids = [claim_id for claim_id in request.held if is_token(claim_id)]
    after, until = (bound if bound and is_token(bound) else None for bound in (request.after, request.until))
    return Held(claim_ids, after or "", until)


def _check_id(session: str) -> None:
    if not is_uuid(session):
        raise UsageError(f"session id {session[:64]!r} is not a UUID in its canonical form")
