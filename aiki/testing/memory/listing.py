"""Own lists of runs, the newest first or by their keys, and their counts."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from aiki.core.states import Move
from aiki.rules.filtering import ERROR_BEGINS, error_pattern, escaped, is_by_key, states_of
from aiki.rules.places import AnyPlace, KeyPlace, Place, begin, told
from aiki.testing.memory.run import Link, Run
from aiki.testing.memory.status import listed
from aiki.testing.memory.store import Store
from aiki.wire import weights
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import ListReply, ListRuns
from aiki.wire.packing import page as page_of

_LIST_MAX: Final = 1000


def list_runs(store: Store, request: ListRuns) -> ListReply:
    """Return a page of the runs that are asked for, or how many they are. Raises UsageError."""
    after = begin(request)
    runs = [run for run in _of_family(store, request) if _is_asked(store, request, run)]
    found = [(place, run) for place, run in _in_order(request, runs) if after is None or _is_behind(place, after)]
    if request.counts:
        return ListReply([], None, len(found), request.narrowed)
    limit = min(max(request.limit, 1), _LIST_MAX)
    kept = page_of([listed(store, run) for _, run in found[:limit]], weights.of_status, MESSAGE_BYTES)
    cursor = None if len(kept) == len(found) else told(found[len(kept) - 1][0])
    return ListReply(kept, cursor, heeded=request.narrowed)


def _of_family(store: Store, request: ListRuns) -> Iterator[tuple[int, Run]]:
    """Yield runs with the times by which they are listed."""
    if request.parent is None:
        yield from ((run.created_at, run) for run in store.runs.values())
    elif (parent := store.runs.get(request.parent)) is not None:
        # A run that its parent has met by a key, again and again maybe, is one of its children once.
        yield from {link.child.id: (link.created_at, link.child) for link in _starts(parent)}.values()


def _starts(parent: Run) -> list[Link]:
    """Return the starts of a run, those of its own last."""
    return sorted(parent.children.values(), key=lambda link: (link.owned, link.created_at))


def _in_order(request: ListRuns, runs: list[tuple[int, Run]]) -> list[tuple[AnyPlace, Run]]:
    if is_by_key(request):
        keyed = [(KeyPlace(run.options.key or "", run.workflow), run) for _, run in runs]
        return sorted(keyed, key=operator.itemgetter(0))
    timed = [(Place(at, run.id), run) for at, run in runs]
    return sorted(timed, key=operator.itemgetter(0), reverse=True)


def _is_behind(place: AnyPlace, after: AnyPlace) -> bool:
    return place < after if isinstance(place, Place) else place > after


def _is_asked(store: Store, request: ListRuns, timed: tuple[int, Run]) -> bool:
    at, run = timed
    if (states := states_of(request)) and run.state not in states:
        return False
    if (request.since is not None and at < request.since) or (request.before is not None and at >= request.before):
        return False
    if request.roots and run.parent is not None:
        return False
    asked = {name: value for name in _ASKED if (value := getattr(request, name)) is not None}
    is_holder = store.keys.get((run.workflow, run.options.key or "")) is run
    if not is_holder and (request.key is not None or request.key_prefix is not None):
        return False
    return request.labels.items() <= run.labels.items() and all(_ASKED[name](run, asked[name]) for name in asked)


_ASKED: Final[Mapping[str, Callable[[Run, Any], bool]]] = {
    "workflow": lambda run, name: run.workflow == name,
    "version": lambda run, version: run.version == version,
    "not_version": lambda run, version: run.version != version,
    "key": lambda run, key: run.options.key == key,
    "key_prefix": lambda run, prefix: (run.options.key or "").startswith(prefix),
    "priority": lambda run, priority: run.priority == priority,
    "retried": lambda run, is_retried: (run.retried_by is not None) == is_retried,
    "error": lambda run, kind: bool(re.search(error_pattern(kind), escaped(bytes(run.error)[:ERROR_BEGINS]))),
    "worker": lambda run, worker: any((one.move, one.actor) == (Move.CLAIM, worker) for one in run.lines),
}
"""What the words of a list ask of a run."""
