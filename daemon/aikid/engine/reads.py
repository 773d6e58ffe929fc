"""Answer the questions of people and tools: lists, stories, counts, and what a reference names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import NotFound, Unsupported, UsageError
from aiki.core.states import Event, State, target
from aiki.wire.limits import MESSAGE_BYTES, PAGE_BYTES
from aiki.wire.messages import (
    NONE,
    Find,
    FindReply,
    History,
    HistoryItem,
    HistoryReply,
    Input,
    InputReply,
    ListReply,
    ListRuns,
    Page,
    PageReply,
    Request,
    Route,
    RunStatus,
    Summary,
    SummaryReply,
    Workflows,
    WorkflowsReply,
)
from aikid.engine.checks import is_uuid
from aikid.engine.routes import RouteKey
from aikid.engine.status import RunKey
from aikid.store import journal, sessions, story
from aikid.store import reads as store
from aikid.store.pool import Connection, Pool, Priority
from aikid.store.story import Place

_FOUND: Final = 10
_EVENTS: Final = frozenset(event.value for event in Event)
_LIST_MAX: Final = 1000
_STORY_ITEMS: Final = 500
_ROOM_BYTES: Final = MESSAGE_BYTES - 16 * 1024
_ITEM_BYTES: Final = 512
_CURSOR: Final = re.compile(r"-?[0-9]{1,9}\.-?[0-9]{1,9}\.[0-9]{1,9}")
_PART_OF_ID: Final = re.compile(r"[0-9a-f-]{8,36}")


async def answer(pool: Pool, namespace: str, request: Request[Any]) -> object:
    """Return the reply to a cold read. Raises UsageError, NotFound, Unavailable, Unsupported."""
    match request:
        case Find():
            return FindReply(await _find(pool, namespace, request.reference))
        case ListRuns():
            return await _list(pool, namespace, request)
        case History():
            return await _story(pool, namespace, request)
        case Input():
            if (raw := await store.run_input(pool, namespace, _id(request.id))) is None:
                raise no_run(request.id, namespace)
            return InputReply(Raw(raw))
        case Summary():
            return SummaryReply(*await store.summary(pool, namespace))
        case Workflows():
            return await _workflows(pool, namespace, request)
        case _:
            raise Unsupported(f"this aikid cannot answer {request.op!r}")


def no_run(run_id: str, namespace: str) -> NotFound:
    """Return the error for a run that does not exist."""
    return NotFound(f"there is no run {run_id[:64]!r} in namespace {namespace!r}", hint="aiki run list")


def _id(run_id: str) -> str:
    if not is_uuid(run_id):
        raise UsageError(f"run id {run_id[:64]!r} is not a UUID in its canonical form")
    return run_id


async def page(pool: Pool, namespace: str, request: Page) -> PageReply:
    """Return journal entries after `after`. Raises UsageError, NotFound, Unavailable."""
    if request.after < 0:
        raise UsageError("`after` must be 0 or more")
    if request.after >= 1 << 31:
        return PageReply([])
    run_id = _id(request.run_id)

    async def work(connection: Connection) -> PageReply:
        if run_id not in await journal.of_namespace(connection, namespace, [run_id]):
            raise no_run(run_id, namespace)
        return PageReply(await journal.page(connection, run_id, after=request.after, limit_bytes=PAGE_BYTES))

    return await pool.run(work, priority=Priority.CLAIM)


async def _find(pool: Pool, namespace: str, reference: str) -> list[str]:
    if "\0" in reference or len(reference) > 512:
        raise UsageError("a reference to a run is an id, a part of one, or workflow@key")
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
    if found := await store.find_between(pool, namespace, first, last, limit=_FOUND):
        return found
    return await store.find_ending(pool, namespace, digits, limit=_FOUND)


async def _list(pool: Pool, namespace: str, request: ListRuns) -> ListReply:
    if request.cursor is not None:
        _id(request.cursor)
    if any("\0" in text for pair in request.labels.items() for text in pair) or "\0" in (request.workflow or ""):
        raise UsageError("a filter holds NUL")
    if request.since is not None and not -(1 << 62) < request.since < 1 << 62:
        raise UsageError("`since` is out of range")
    limit = min(max(request.limit, 1), _LIST_MAX)
    found = await store.list_runs(pool, namespace, request, limit=limit + 1)
    room = _ROOM_BYTES
    kept: list[RunStatus] = []
    for run in found[:limit]:
        room -= _ITEM_BYTES + sum(len(name) + 6 * len(value) for name, value in run.labels.items())
        room -= 6 * len(run.why or "")
        if room < 0 and kept:
            break
        kept.append(run)
    explained = await explain(pool, {(namespace, run.id): run for run in kept})
    return ListReply(list(explained.values()), kept[-1].id if len(kept) < len(found) else None)


async def _story(pool: Pool, namespace: str, request: History) -> HistoryReply:
    after = _place(request.cursor)
    if await store.run_input(pool, namespace, _id(request.id)) is None:
        raise no_run(request.id, namespace)
    lines = await story.read(pool, request.id, after=after, limit=_STORY_ITEMS + 1, limit_bytes=_ROOM_BYTES)
    room = _ROOM_BYTES
    items: list[HistoryItem] = []
    for line in lines[:_STORY_ITEMS]:
        room -= _ITEM_BYTES + len(line.value or b"") + 6 * len(line.reason or "") + len(line.key or "")
        if room < 0 and items:
            break
        items.append(
            HistoryItem(
                at=line.at,
                event=line.event,
                state=_state_after(line.event),
                reason=line.reason,
                actor=line.actor,
                key=line.key,
                ok=line.ok,
                value=NONE if line.value is None else Raw(line.value),
            )
        )
    return HistoryReply(items, ".".join(map(str, lines[len(items) - 1].place)) if len(items) < len(lines) else None)


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return story.BEGIN
    if not _CURSOR.fullmatch(cursor):
        raise UsageError("the cursor of a history is what an earlier page gave")
    return Place(*map(int, cursor.split(".")))


def _state_after(event: str) -> State | None:
    return target(Event(event)) if event in _EVENTS else None


async def _workflows(pool: Pool, namespace: str, request: Workflows) -> WorkflowsReply:
    if request.workflow is not None and "\0" in request.workflow:
        raise UsageError("a workflow's name holds NUL")
    found = await store.registered(pool, namespace, request.workflow)
    live = await _served(pool, [(namespace, route.workflow, route.version) for route in found])
    room, replies = _ROOM_BYTES, []
    for route in found:
        size = _ITEM_BYTES + len(bytes(route.parameters)) + sum(len(name) + 8 for name in route.task_names)
        served = (namespace, route.workflow, route.version) in live
        if size > room:
            # Schemas are read for one workflow at a time where they are many.
            replies.append(Route(route.workflow, route.version, live=served))
            room -= _ITEM_BYTES
        else:
            replies.append(replace(route, live=served))
            room -= size
    return WorkflowsReply(replies)


async def explain(pool: Pool, found: Mapping[RunKey, RunStatus]) -> dict[RunKey, RunStatus]:
    """Say of queued runs that no live worker serves their route, where it is so. Raises Unavailable."""
    queued = {key: (key[0], run.workflow, run.version) for key, run in found.items() if run.state is State.QUEUED}
    served = await _served(pool, set(queued.values()))
    return {
        key: replace(run, why=f"no live worker serves {run.workflow} {run.version}")
        if key in queued and queued[key] not in served
        else run
        for key, run in found.items()
    }


async def _served(pool: Pool, routes: Collection[RouteKey]) -> set[RouteKey]:
    return await pool.run(lambda c: sessions.served(c, routes), priority=Priority.READ) if routes else set()
