"""Which code each route has, and how many runs are in flight that other code has begun."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from aiki.core.states import BEGUN, State
from aiki.rules.codes import Code, Registered, RouteKey
from aiki.wire.limits import COUNTED_RUNS
from aikid.store.arrays import Texts
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

_ROUTE: Final = "(r.namespace, r.workflow, r.version) = (%(namespace)s, t.workflow, t.version)"
# The primary key, in its order. What is the same as before is not locked: two sessions that bring other code wait for
# each other for as long as that takes, and the second is compared with what the first has left.
_DIFFERING: Final = f"""
SELECT r.workflow, r.version, r.fingerprint, r.fingerprint_session::text, r.earlier,
  {MICROSECONDS.format("r.earlier_at")}, r.earlier_by
FROM unnest(%(workflows)b, %(versions)b, %(codes)b) AS t(workflow, version, code) JOIN aiki.routes r ON {_ROUTE}
WHERE r.fingerprint IS DISTINCT FROM t.code OR r.fingerprint_session = %(session)s
ORDER BY r.workflow, r.version FOR NO KEY UPDATE OF r
"""
# `session_routes_served`, and the primary key of its sessions; a plain read that waits for nobody.
_ALIKE: Final = """
SELECT t.workflow, t.version FROM unnest(%(workflows)b, %(versions)b, %(codes)b) AS t(workflow, version, code)
WHERE EXISTS (
  SELECT FROM aiki.session_routes r JOIN aiki.sessions s ON s.id = r.session_id
  WHERE r.namespace = %(namespace)s AND r.workflow = t.workflow AND r.version = t.version AND r.fingerprint = t.code
    AND s.id <> %(session)s AND s.closed_at IS NULL AND s.expires_at > aiki.now()
)
"""
# The primary key; the rows are locked already.
_PUT: Final = f"""
UPDATE aiki.routes r SET fingerprint = t.code, fingerprint_at = aiki.clock(), fingerprint_by = %(worker)s,
  fingerprint_session = %(session)s, earlier = r.fingerprint, earlier_at = r.fingerprint_at,
  earlier_by = r.fingerprint_by
FROM unnest(%(workflows)b, %(versions)b, %(codes)b) AS t(workflow, version, code) WHERE {_ROUTE}
RETURNING r.workflow, r.version, r.fingerprint, r.fingerprint_session::text, r.earlier,
  {MICROSECONDS.format("r.earlier_at")}, r.earlier_by
"""
_OF_ROUTE: Final = "x.namespace = r.namespace AND x.workflow = r.workflow AND x.version = r.version"
# `runs_queued` from its left end, where those that were started come first among equals; `runs_resting`; none goes
# further than is told. `runs_running` by each session, once for all routes: as many as workers have slots.
_BEGUN: Final = f"""
WITH running AS MATERIALIZED (
  SELECT x.workflow, x.version, x.started_at FROM aiki.sessions s JOIN aiki.runs x ON x.session_id = s.id
  WHERE s.namespace = %(namespace)s AND x.namespace = %(namespace)s AND x.state = '{State.RUNNING}'
    AND (x.workflow, x.version) IN (SELECT * FROM unnest(%(workflows)b, %(versions)b))
)
SELECT r.workflow, r.version, (
  SELECT count(*) FROM (
    (SELECT x.started_at FROM aiki.runs x WHERE {_OF_ROUTE} AND x.state = '{State.QUEUED}'
      ORDER BY x.priority DESC, (x.started_at IS NULL), x.created_at LIMIT {COUNTED_RUNS} + 1)
    UNION ALL
    (SELECT x.started_at FROM aiki.runs x
      WHERE {_OF_ROUTE} AND x.state IN ({quoted(BEGUN - {State.QUEUED, State.RUNNING})}) LIMIT {COUNTED_RUNS} + 1)
    UNION ALL
    SELECT g.started_at FROM running g WHERE g.workflow = r.workflow AND g.version = r.version
  ) AS begun WHERE begun.started_at < r.fingerprint_at
)
FROM unnest(%(workflows)b, %(versions)b) AS t(workflow, version) JOIN aiki.routes r ON {_ROUTE}
"""


async def differing(
    connection: Connection, namespace: str, told: Mapping[RouteKey, Code], *, session: str
) -> dict[RouteKey, Registered]:
    """Return, and lock, what is known of the routes whose code is not what is told, or was brought by this session."""
    parameters = {**_given(namespace, told), "session": session}
    cursor = await connection.execute(_DIFFERING, parameters, prepare=True, binary=True)
    return _registered(await cursor.fetchall())


async def alike(
    connection: Connection, namespace: str, told: Mapping[RouteKey, Code], *, session: str
) -> frozenset[RouteKey]:
    """Return the routes of which another live session has the code that is told."""
    parameters = {**_given(namespace, told), "session": session}
    cursor = await connection.execute(_ALIKE, parameters, prepare=True, binary=True)
    return frozenset(await cursor.fetchall())


async def put(
    connection: Connection, namespace: str, told: Mapping[RouteKey, Code], *, session: str, worker: str
) -> dict[RouteKey, Registered]:
    """Let routes have other code from now on, and return what is known of them then."""
    parameters = {**_given(namespace, told), "session": session, "worker": worker}
    cursor = await connection.execute(_PUT, parameters, prepare=True, binary=True)
    return _registered(await cursor.fetchall())


async def begun_before(connection: Connection, namespace: str, of: Collection[RouteKey]) -> dict[RouteKey, int]:
    """Return how many runs of each route are in flight that were started before it got its code.

    Those that are looked at are COUNTED_RUNS and one of each kind.
    """
    cursor = await connection.execute(_BEGUN, _given(namespace, dict.fromkeys(of, "")), prepare=True, binary=True)
    return {(workflow, version): runs for workflow, version, runs in await cursor.fetchall()}


def _given(namespace: str, told: Mapping[RouteKey, Code]) -> dict[str, object]:
    return {
        "namespace": namespace,
        "workflows": Texts([workflow for workflow, _ in told]),
        "versions": Texts([version for _, version in told]),
        "codes": Texts([*told.values()]),
    }


def _registered(rows: Sequence[tuple[Any, ...]]) -> dict[RouteKey, Registered]:
    return {
        (workflow, version): Registered(code, session or "", earlier, since or 0, worker or "")
        for workflow, version, code, session, earlier, since, worker in rows
    }
