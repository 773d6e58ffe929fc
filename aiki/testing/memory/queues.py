"""Own which runs are queued, of each route in the order in which they are claimed."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import merge
from itertools import islice
from typing import Final, TypeAlias

from aiki.rules.claiming import Queued, order
from aiki.rules.crashing import is_suspect
from aiki.testing.memory.run import RouteKey, Run

_Place: TypeAlias = tuple[tuple[int, bool, int], str]
"""Before which others a run is claimed, and its id."""
_NONE: Final[list[_Place]] = []


class Queues:
    """The queued runs of one engine. Those that are suspect stand apart: one of them is claimed before all others."""

    def __init__(self) -> None:
        self._places: dict[tuple[RouteKey, bool], list[_Place]] = {}
        """By route, and whether they are suspect."""
        self._queued: dict[str, Queued] = {}

    def __bool__(self) -> bool:
        return bool(self._queued)

    def put(self, run: Run) -> None:
        """Take in a run that is queued now."""
        queued = self._queued[run.id] = _as_queued(run)
        insort(self._places.setdefault((run.route, is_suspect(queued.crash_count)), []), (order(queued), run.id))

    def drop(self, run: Run) -> None:
        """Forget a run that is queued no more."""
        queued = self._queued.pop(run.id)
        places = self._places[run.route, is_suspect(queued.crash_count)]
        del places[bisect_left(places, (order(queued), run.id))]

    def first(self, routes: Iterable[RouteKey], limit: int) -> list[Queued]:
        """Return the first runs of routes: one that is suspect, and of the others one more than `limit`."""
        unique = [*dict.fromkeys(routes)]
        return [*self._first(unique, 1, suspect=True), *self._first(unique, limit + 1, suspect=False)]

    def _first(self, routes: Iterable[RouteKey], count: int, *, suspect: bool) -> list[Queued]:
        places = merge(*(self._places.get((route, suspect), _NONE) for route in routes))
        return [self._queued[run_id] for _, run_id in islice(places, count)]


def _as_queued(run: Run) -> Queued:
    has_started, crashes = run.started_at is not None, run.standing.crash_count
    return Queued(run.id, has_started, run.priority, run.created_at, crashes, len(run.input))
