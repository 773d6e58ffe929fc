"""Own lists of runs, the newest first, and their counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from aiki.core.errors import UsageError
from aiki.rules.checking import is_uuid
from aiki.testing.memory.run import Link, Run
from aiki.testing.memory.status import listed
from aiki.testing.memory.store import Store
from aiki.wire import weights
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import ListReply, ListRuns
from aiki.wire.packing import page as page_of

_LIST_MAX: Final = 1000
_MARK: Final = re.compile(r"([0-9]{1,16})\.([0-9a-f-]{36})")
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
_Mark = tuple[int, str]
"""Where a run stands among those that are listed: when it was stored, and its id."""


def list_runs(store: Store, request: ListRuns) -> ListReply:
    """Return a page of the runs that are asked for, or how many they are. Raises UsageError."""
    if request.parent is not None:
        _check_parent(request)
    before = _before(request)
    places = sorted(_places(store, request), reverse=True)
    found = [(mark, store.runs[mark[1]]) for mark in places if _is_within(mark, request.since, before)]
    found = [(mark, run) for mark, run in found if _is_asked(request, run)]
    if request.counts:
        return ListReply([], None, len(found))
    limit = min(max(request.limit, 1), _LIST_MAX)
    kept = page_of([listed(store, run) for _, run in found[:limit]], weights.of_status, MESSAGE_BYTES)
    if len(kept) == len(found):
        return ListReply(kept)
    created, run_id = found[len(kept) - 1][0]
    return ListReply(kept, f"{created}.{run_id}")


def _check_parent(request: ListRuns) -> None:
    if not is_uuid(request.parent or ""):
        raise UsageError(f"run id {(request.parent or '')[:64]!r} is not a UUID in its canonical form")
    if request.roots:
        raise UsageError("roots are runs that have no parent: ask for them, or for the children of a run, not both")


def _before(request: ListRuns) -> _Mark | None:
    if request.cursor is None:
        return None if request.before is None else (request.before, _FIRST_ID)
    told = _MARK.fullmatch(request.cursor)
    if told is None or not is_uuid(told[2]):
        raise UsageError("the cursor of a list is what an earlier page gave")
    return int(told[1]), told[2]


def _places(store: Store, request: ListRuns) -> Iterator[_Mark]:
    if request.parent is None:
        yield from ((run.created_at, run.id) for run in store.runs.values())
    elif (parent := store.runs.get(request.parent)) is not None:
        # A run that its parent has met by a key, again and again maybe, is one of its children once.
        yield from {link.child.id: (link.created_at, link.child.id) for link in _starts(parent)}.values()


def _starts(parent: Run) -> list[Link]:
    """Return the starts of a run, those of its own last."""
    return sorted(parent.children.values(), key=lambda link: (link.owned, link.created_at))


def _is_within(mark: _Mark, since: int | None, before: _Mark | None) -> bool:
    return (since is None or mark[0] >= since) and (before is None or mark < before)


def _is_asked(request: ListRuns, run: Run) -> bool:
    if request.states and run.state not in request.states:
        return False
    if request.workflow not in (None, run.workflow) or (request.roots and run.parent is not None):
        return False
    return request.labels.items() <= run.labels.items()
