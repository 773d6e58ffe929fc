"""Own the sessions of workers, and what becomes of the runs of one that is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core.errors import UsageError
from aiki.core.states import Move, State
from aiki.rules import crashing
from aiki.rules.checking import check_routes
from aiki.testing.memory import codes
from aiki.testing.memory.run import RouteKey, Run
from aiki.testing.memory.store import Session, Store
from aiki.wire.messages import CloseSession, OpenSession, RenewSession, Route, SessionReply

_LEFT: Final = "its worker left"
_LOST: Final = "worker {} lost its lease"


def open_session(store: Store, request: OpenSession) -> SessionReply:
    """Open a session and register its routes. Raises UsageError and PayloadError."""
    check_routes(request.routes)
    routes = _folded(request.routes)
    opened = Session(request.id, request.worker, request.ttl, opened_at=store.now(), slots=request.slots)
    session = store.sessions.setdefault(request.id, opened)
    for key, route in routes.items():
        store.routes[key] = _known(store.routes.get(key), route)
    if not session.is_alive:
        return SessionReply(False, store.now(), session.ttl)
    session.routes |= routes.keys()
    return SessionReply(True, store.now(), session.ttl, changed=codes.register(store, session, routes))


def renew(store: Store, request: RenewSession) -> SessionReply:
    """Say whether a session lives, and of which of its runs there is news."""
    session = store.sessions.get(request.id)
    if session is None or not session.is_alive:
        return SessionReply(False, store.now())
    session.seen_at, session.draining = store.now(), session.draining or request.draining
    held = session.runs.values()
    news = [(run.id, run.inbox.news) for run in held if run.inbox.unread or run.standing.wanted is not None]
    return SessionReply(True, store.now(), session.ttl, news=news)


def close(store: Store, request: CloseSession) -> SessionReply:
    """End a session by its worker's word: its runs are queued again."""
    _end(store, request.id, is_left=True)
    return SessionReply(alive=False, now=store.now())


def lose(store: Store, session_id: str) -> None:
    """End a session whose worker has died: each of its runs has lost its lease."""
    _end(store, session_id, is_left=False)


def _end(store: Store, session_id: str, *, is_left: bool) -> None:
    session = store.sessions.get(session_id)
    if session is None or not session.is_alive:
        return
    session.is_alive, session.ended_at = False, store.now()
    reason = _LEFT if is_left else _LOST.format(session.worker)
    for run in [*session.runs.values()]:
        _take_back(store, run, reason, is_left=is_left)


def _take_back(store: Store, run: Run, reason: str, *, is_left: bool) -> None:
    length = run.standing.length
    loss, after = crashing.lose(run.standing, is_left=is_left, now=store.now())
    is_paused = after.state is State.PAUSED
    run.tell(store.now(), loss.move, reason=reason, length=length)
    if is_paused:
        run.tell(store.now(), Move.PAUSE, length=length)
    run.why = run.why if is_paused else loss.why
    store.stand(run, after)


def _folded(routes: Sequence[Route]) -> dict[RouteKey, Route]:
    """Return the routes by name and version; one that is named twice must be the same both times."""
    known: dict[RouteKey, Route] = {}
    for route in routes:
        if known.setdefault((route.workflow, route.version), route) != route:
            name = f"route {route.workflow!r} {route.version!r}"
            raise UsageError(f"{name} is named twice, with different schemas or tasks: name it once")
    return known


def _known(before: Route | None, now: Route) -> Route:
    """Return what is known of a route: its schemas stand until others are said."""
    if before is None:
        return now
    return Route(
        now.workflow,
        now.version,
        now.parameters or before.parameters,
        now.task_names,
        retention=now.retention,
        timeout=now.timeout,
        cancel_timeout=now.cancel_timeout,
        events=now.events or before.events,
    )
