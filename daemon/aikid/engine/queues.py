"""Read what is queued by route, and for how long."""

from __future__ import annotations

from aikid.engine.routes import RouteKey
from aikid.store import queues as store
from aikid.store import routes
from aikid.store.pool import Pool


async def waiting(pool: Pool) -> dict[RouteKey, float]:
    """Return, for each route with queued runs, for how many seconds the one that comes next is. Raises Unavailable."""
    return await pool.run(store.waiting)


async def queued(pool: Pool, route: RouteKey, *, limit: int) -> int:
    """Return how many runs of the route are queued; counts no further than `limit`. Raises Unavailable."""
    return await pool.run(lambda c: store.queued(c, route, limit=limit))


async def known(pool: Pool) -> list[RouteKey]:
    """Return all routes that runs may be queued on. Raises Unavailable."""
    return await pool.run(routes.known)
