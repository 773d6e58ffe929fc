"""Own what this process knows of routes: which are in the table, and which live workers serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from aiki.core.retention import NOTHING
from aiki.wire import declared
from aiki.wire.codec import encode
from aiki.wire.messages import Route
from aikid.store import routes as store
from aikid.store.pool import Pool
from aikid.store.routes import RouteRow

RouteKey = tuple[str, str, str]
"""Namespace, workflow, version."""
_REMEMBERED: Final = 10_000


class Routes:
    """The routes that are known to be in the table; `on_new` is told each time one is met first."""

    def __init__(self, pool: Pool, on_new: Callable[[Iterable[RouteKey]], None]) -> None:
        self._pool = pool
        self._on_new = on_new
        self._known: set[RouteKey] = set()

    async def learn(self, routes: set[RouteKey]) -> None:
        """Put routes that were only ever enqueued to into the table. Raises Unavailable."""
        if new := routes - self._known:
            await self._store([RouteRow(*route) for route in sorted(new)], by_worker=False)

    async def register(self, namespace: str, routes: Iterable[Route]) -> None:
        """Store what a worker says of the routes it serves. Raises Unavailable."""
        rows = [
            RouteRow(
                namespace,
                route.workflow,
                route.version,
                bytes(route.parameters) or None,
                encode(route.task_names).decode(),
                bytes(route.events) or None,
                declared.names(route.events),
                route.timeout,
                route.cancel_timeout,
                None if route.retention == NOTHING else encode(route.retention),
            )
            for route in routes
        ]
        if rows:
            await self._store(rows, by_worker=True)

    async def _store(self, rows: list[RouteRow], *, by_worker: bool) -> None:
        await self._pool.run(lambda c: store.register(c, rows, by_worker=by_worker))
        keys = {(row.namespace, row.workflow, row.version) for row in rows}
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        self._known |= keys
        self._on_new(keys)
