"""Own the questions of people and tools: what a reference names, inputs, counts, and what is served."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from aiki.core.errors import UsageError
from aiki.core.states import TERMINAL
from aiki.testing.memory import draining, policies
from aiki.testing.memory.store import Store
from aiki.wire.messages import (
    Find,
    FindReply,
    Input,
    InputReply,
    Route,
    Storage,
    StorageReply,
    Workflows,
    WorkflowSize,
    WorkflowsReply,
)

T = TypeVar("T")

_FOUND: Final = 10
_ROUTES_MAX: Final = 500
_PART_OF_ID: Final = re.compile(r"[0-9a-f-]{8,36}")


def find(store: Store, request: Find) -> FindReply:
    """Return the runs that a reference may mean. Raises UsageError."""
    workflow, at, key = request.reference.partition("@")
    if at:
        holder = store.keys.get((workflow, key))
        return FindReply([] if holder is None else [holder.id])
    digits = _digits(request.reference)
    ids = sorted(store.runs)
    found = [one for one in ids if one.replace("-", "").startswith(digits)]
    found = found or [one for one in ids if one.replace("-", "").endswith(digits)]
    return FindReply(found[:_FOUND])


def _digits(reference: str) -> str:
    part = reference.lower()
    if not _PART_OF_ID.fullmatch(part):
        raise UsageError(
            f"{reference[:80]!r} is not a run: give an id, at least 8 characters of its start or end, or workflow@key"
        )
    digits = part.replace("-", "")
    if not 8 <= len(digits) <= 32:
        raise UsageError("a part of a run's id has 8 to 32 digits")
    return digits


def input_of(store: Store, request: Input) -> InputReply:
    """Return the input of the generation that a run is in. Raises NotFound."""
    return InputReply(store.find(request.id).input)


def storage(store: Store, request: Storage) -> StorageReply:
    """Say how many runs there are of each workflow, and what their payloads take up: there are no tables."""
    found: dict[str, WorkflowSize] = {}
    for run in store.runs.values():
        one = found.setdefault(run.workflow, WorkflowSize(run.workflow, 0, 0))
        one.runs += 1
        one.ended += run.state in TERMINAL
        one.bytes += len(run.input) + len(run.output)
    largest = sorted(found.values(), key=lambda one: (-one.bytes, one.workflow))
    count = len(store.runs)
    return StorageReply([], largest[: request.most], count, count, is_whole=True)


def workflows(store: Store, request: Workflows) -> WorkflowsReply:
    """Return the routes that workers have registered, by name, the newest first."""
    newest = [
        Route(*key) if route is None else route
        for key, route in reversed(store.routes.items())
        if route is not None or request.standing
    ]
    known = [route for route in newest if request.workflow in (None, route.workflow)]
    routes, cursor = page(sorted(known, key=lambda route: route.workflow), request.cursor, _ROUTES_MAX)
    told = [
        replace(
            route,
            live=store.is_served((route.workflow, route.version)),
            retention=policies.in_force(store.policies, route),
        )
        for route in routes
    ]
    if request.standing:
        told = [replace(route, standing=draining.standing(store, (route.workflow, route.version))) for route in told]
    return WorkflowsReply(told, cursor)


def page(items: Sequence[T], cursor: str | None, most: int) -> tuple[Sequence[T], str | None]:
    """Return `most` items from where a cursor points to, and the cursor of those behind them. Raises UsageError."""
    if cursor is not None and not re.fullmatch(r"[0-9]{1,9}", cursor):
        raise UsageError("the cursor is a number that an earlier page gave")
    start = int(cursor or 0)
    end = start + most
    return items[start:end], str(end) if end < len(items) else None
