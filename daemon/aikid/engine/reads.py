"""Answer the questions of people and tools: lists, counts, inputs, and what a reference names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import Unsupported, UsageError
from aiki.core.states import State
from aiki.rules import places
from aiki.wire import weights
from aiki.wire.messages import (
    NONE,
    Find,
    FindReply,
    Input,
    InputReply,
    ListReply,
    ListRuns,
    Request,
    RunStatus,
    Summary,
    Workers,
    Workflows,
    WorkflowsReply,
)
from aiki.wire.packing import page as page_of
from aiki.wire.packing import reply_room
from aikid.engine import expiring, status
from aikid.engine.expiring import NO_TERMS, Terms
from aikid.engine.paging import next_cursor
from aikid.engine.paging import offset as offset_of
from aikid.engine.routes import RouteKey
from aikid.engine.status import RunKey, no_run
from aikid.engine.summary import Capped, summary, workers
from aikid.store import draining, listing, routes
from aikid.store import reads as store
from aikid.store.pool import Pool

_FOUND: Final = 10
_LIST_MAX: Final = 1000
_ROUTES_MAX: Final = 500
_COUNTED_ROUTES: Final = 100
"""Routes that one request counts the runs of."""
_PART_OF_ID: Final = re.compile(r"[0-9a-f-]{8,36}")


async def answer(
    pool: Pool,
    namespace: str,
    request: Request[Any],
    *,
    room: int,
    terms: Terms = NO_TERMS,
    capped: Capped | None = None,
) -> object:
    """Return the reply to a cold read, or as much of it as fits `room`.

    Raises UsageError, NotFound, Unavailable, Unsupported.
    """
    match request:
        case Find():
            return FindReply(await _find(pool, namespace, request.reference))
        case ListRuns():
            return await _list(pool, namespace, request, room)
        case Input():
            if (raw := await store.run_input(pool, namespace, request.id)) is None:
                raise no_run(request.id, namespace)
            return InputReply(Raw(raw))
        case Summary():
            return await summary(pool, namespace, request, room, capped=capped)
        case Workers():
            return await workers(pool, namespace, request, room)
        case Workflows():
            return await _workflows(pool, namespace, request, room, terms)
        case _:
            raise Unsupported(f"this aikid cannot answer {request.op!r}")


async def _find(pool: Pool, namespace: str, reference: str) -> list[str]:
    workflow, at, key = reference.partition("@")
    if at:
        return await store.find_by_key(pool, namespace, workflow, key)
    part = reference.lower()
    if not _PART_OF_ID.fullmatch(part):
        raise UsageError(
            f"{reference[:80]!r} is not a run: give an id, at least 8 characters of its start or end, or workflow@key"
        )
    digits = part.replace("-", "")
    if not 8 <= len(digits) <= 32:
        raise UsageError("a part of a run's id has 8 to 32 digits")
    first, last = digits.ljust(32, "0"), digits.ljust(32, "f")
    found = await store.find_between(pool, namespace, first, last, limit=_FOUND)
    return found or await listing.find_ending(pool, namespace, digits, limit=_FOUND)


async def _list(pool: Pool, namespace: str, request: ListRuns, room: int) -> ListReply:
    before = places.begin(request)
    if request.counts:
        count, end = await listing.count_runs(pool, namespace, request, before=before, limit=listing.LOOKED_AT)
        return ListReply([], end and places.told(end), count, request.narrowed)
    limit = min(max(request.limit, 1), _LIST_MAX)
    found, end = await listing.list_runs(pool, namespace, request, before=before, limit=limit + 1, limit_bytes=room)
    shown = {(namespace, run.id): run for run in [*found.values()][:limit]}
    explained = await status.tried(pool, await explain(pool, shown))
    runs = [status.within(run, room) for run in explained.values()]
    kept = page_of(runs, weights.of_status, room)
    if len(kept) < len(found):
        end = [*found][len(kept) - 1]
    return ListReply(kept, end and places.told(end), heeded=request.narrowed)


async def _workflows(pool: Pool, namespace: str, request: Workflows, room: int, terms: Terms) -> WorkflowsReply:
    offset = offset_of(request.cursor)
    most = reply_room(room)
    found, more = await store.registered(
        pool,
        namespace,
        request.workflow,
        offset=offset,
        limit=_ROUTES_MAX,
        limit_bytes=most,
        with_unregistered=request.standing,
    )
    live = await _served(pool, [(namespace, route.workflow, route.version) for route in found])
    kept_for = await expiring.told(pool, [(namespace, route.workflow, route.version) for route in found], terms)
    routes = [
        replace(route, live=key in live, retention=kept_for.get(key, terms.periods))
        for route in found
        for key in [(namespace, route.workflow, route.version)]
    ]
    if request.standing:
        routes = routes[:_COUNTED_ROUTES]
        standings = await draining.standings(pool, namespace, [(route.workflow, route.version) for route in routes])
        routes = [replace(route, standing=standings.get((route.workflow, route.version))) for route in routes]
    # One whose schema fits no message is shown without: whoever runs it checks its payloads all the same.
    routes = [
        route if weights.of_route(route) <= most else replace(route, parameters=NONE, events=NONE) for route in routes
    ]
    kept = page_of(routes, weights.of_route, room)
    return WorkflowsReply(kept, next_cursor(offset + len(kept), more=more or len(kept) < len(found)))


async def explain(pool: Pool, found: Mapping[RunKey, RunStatus]) -> dict[RunKey, RunStatus]:
    """Say of queued runs that no live worker serves their route, where it is so. Raises Unavailable."""
    queued = {key: (key[0], run.workflow, run.version) for key, run in found.items() if run.state is State.QUEUED}
    served = await _served(pool, set(queued.values()))
    return {
        key: replace(run, why=_unserved(run)) if key in queued and queued[key] not in served else run
        for key, run in found.items()
    }


def _unserved(run: RunStatus) -> str:
    """Return why a run is queued that no worker can take up."""
    unserved = f"no live worker serves {run.workflow} {run.version}"
    if run.cancel is None:
        return unserved
    return f"{run.cancel.words()}; {unserved}: it ends when one does, or by force"


async def _served(pool: Pool, wanted: Collection[RouteKey]) -> set[RouteKey]:
    return await pool.run(lambda c: routes.served(c, wanted)) if wanted else set()
