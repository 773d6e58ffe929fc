"""Say which routes have got other code by a session that opens, while runs are in flight that the other has begun."""

from __future__ import annotations

from collections.abc import Mapping

from aiki.rules import codes
from aiki.rules.codes import Registered, RouteKey
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import CodeChange, OpenSession, Route
from aiki.wire.packing import page
from aiki.wire.weights import of_code_change
from aikid.store import codes as store
from aikid.store.pool import Connection, Pool


async def register(
    connection: Connection, namespace: str, request: OpenSession, routes: Mapping[RouteKey, Route]
) -> dict[RouteKey, Registered]:
    """Take note of the code that a session has, and return the routes that have other code by it than before.

    Invariant: of the sessions that bring the same code one is told, under the lock of the route's row; it is told again
    if it asks again.
    """
    session = request.id
    told = {key: route.fingerprint for key, route in routes.items() if route.fingerprint}
    if not told or not (known := await store.differing(connection, namespace, told, session=session)):
        return {}
    # Read with the rows locked: what the session before this one has brought is seen.
    alike = await store.alike(connection, namespace, {key: told[key] for key in known}, session=session)
    if new := codes.new_codes(told, known, alike=alike):
        known |= await store.put(connection, namespace, new, session=session, worker=request.worker)
    return {key: one for key, one in known.items() if codes.is_changed(one, session)}


async def changes(pool: Pool, namespace: str, changed: Mapping[RouteKey, Registered], *, room: int) -> list[CodeChange]:
    """Return of each route that has other code how many runs in flight the code before has begun, if there are any.

    As many as fit `room`. Raises Unavailable.
    """
    if not changed:
        return []
    begun = await pool.run(lambda c: store.begun_before(c, namespace, changed))
    told = [
        CodeChange(
            *key,
            min(begun[key], COUNTED_RUNS),
            one.earlier_since,
            one.earlier_by,
            codes.python_before(one),
            capped=begun[key] > COUNTED_RUNS,
        )
        for key, one in changed.items()
        if begun.get(key)
    ]
    return list(page(told, of_code_change, room))
