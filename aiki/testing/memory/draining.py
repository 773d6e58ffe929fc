"""Own what is told of a route beside its schema: runs in flight, workers that serve it, and its code."""

from __future__ import annotations

from collections import Counter

from aiki.testing.memory.run import RouteKey
from aiki.testing.memory.store import Store
from aiki.wire.limits import COUNTED_RUNS, NAMED_WORKERS
from aiki.wire.messages import RouteStanding


def standing(store: Store, route: RouteKey) -> RouteStanding:
    """Return how a route stands."""
    runs = [run for run in store.runs.values() if run.route == route]
    counts = Counter(run.state for run in runs if not run.is_over)
    workers = sorted(one.worker for one in store.sessions.values() if one.is_alive and route in one.routes)
    since, by = store.coded_at.get(route, (None, ""))
    return RouteStanding(
        {state: min(count, COUNTED_RUNS) for state, count in counts.items()},
        sorted(state for state, count in counts.items() if count > COUNTED_RUNS),
        len(workers),
        workers[:NAMED_WORKERS],
        any((one.declared.workflow, one.declared.version) == route for one in store.schedules.values()),
        since,
        by,
        is_registered=store.routes.get(route) is not None,
        last_start=max((run.started_at for run in runs if run.started_at is not None), default=None),
    )
