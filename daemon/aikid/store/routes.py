"""Workflows, versions and their schemas, as workers register them, and which of them live workers serve."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from aikid.store.arrays import Blobs, Ints, Texts, Uuids
from aikid.store.pool import Connection

# `session_routes_served`, and of its sessions the primary key, until one lives; a plain read that waits for nobody.
_SERVED: Final = """
SELECT t.* FROM unnest(%b, %b, %b) AS t(namespace, workflow, version)
WHERE EXISTS (
  SELECT FROM aiki.session_routes r JOIN aiki.sessions s ON s.id = r.session_id
  WHERE r.namespace = t.namespace AND r.workflow = t.workflow AND r.version = t.version
    AND s.closed_at IS NULL AND s.expires_at > aiki.now()
)
"""


async def served(connection: Connection, routes: Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Return those of the routes (namespace, workflow, version) that a live session serves."""
    parameters = [Texts([route[column] for route in routes]) for column in range(3)]
    cursor = await connection.execute(_SERVED, parameters, prepare=True, binary=True)
    return set(await cursor.fetchall())


_REGISTER: Final = """
INSERT INTO aiki.routes AS r
  (namespace, workflow, version, parameters, task_names, events, event_names, timeout_us, cancel_timeout_us,
    retention, registered_at)
SELECT t.namespace, t.workflow, t.version, t.parameters, t.task_names::jsonb, t.events, t.event_names::text[],
  t.timeout_us, t.cancel_timeout_us, t.retention, CASE WHEN %s THEN aiki.now() END
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS t(namespace, workflow, version, parameters, task_names, events,
  event_names, timeout_us, cancel_timeout_us, retention)
ORDER BY 1, 2, 3
ON CONFLICT (namespace, workflow, version) DO UPDATE
  SET parameters = coalesce(excluded.parameters, r.parameters), task_names = excluded.task_names,
    events = coalesce(excluded.events, r.events),
    event_names = CASE WHEN excluded.events IS NULL THEN r.event_names ELSE excluded.event_names END,
    timeout_us = excluded.timeout_us, cancel_timeout_us = excluded.cancel_timeout_us, retention = excluded.retention,
    registered_at = aiki.now()
  WHERE excluded.registered_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route to be made known; `task_names` is a JSON list. Of `events` nothing is said if it is None."""

    namespace: str
    workflow: str
    version: str
    parameters: bytes | None = None
    task_names: str | None = None
    events: bytes | None = None
    event_names: Collection[str] | None = None
    """The only ones that it takes; None if it takes any."""
    timeout_us: int | None = None
    cancel_timeout_us: int | None = None
    retention: bytes | None = None


async def register(connection: Connection, rows: Sequence[RouteRow], *, by_worker: bool) -> None:
    """Make the routes known; a worker also says what they take. In the primary key's order."""
    parameters = [
        by_worker,
        Texts([row.namespace for row in rows]),
        Texts([row.workflow for row in rows]),
        Texts([row.version for row in rows]),
        Blobs([row.parameters for row in rows]),
        Texts([row.task_names for row in rows]),
        Blobs([row.events for row in rows]),
        Texts([_array(row.event_names) for row in rows]),
        Ints([row.timeout_us for row in rows]),
        Ints([row.cancel_timeout_us for row in rows]),
        Blobs([row.retention for row in rows]),
    ]
    await connection.execute(_REGISTER, parameters, prepare=True, binary=True)


def _array(names: Collection[str] | None) -> str | None:
    """Return the literal of an array of tokens: Postgres has no arrays of arrays of different lengths."""
    return None if names is None else "{" + ",".join(f'"{name}"' for name in sorted(names)) + "}"


# The primary key; a plain read that waits for nobody.
_TAKEN: Final = """
SELECT r.namespace, r.workflow, r.version, r.event_names FROM unnest(%b, %b, %b) AS t(namespace, workflow, version)
JOIN aiki.routes r ON (r.namespace, r.workflow, r.version) = (t.namespace, t.workflow, t.version)
WHERE r.event_names IS NOT NULL
"""


async def taken(
    connection: Connection, routes: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str, str], frozenset[str]]:
    """Return the names of the events that each of the routes (namespace, workflow, version) takes, if not any."""
    parameters = [Texts([route[column] for route in routes]) for column in range(3)]
    cursor = await connection.execute(_TAKEN, parameters, prepare=True, binary=True)
    return {(namespace, name, version): frozenset(names) for namespace, name, version, names in await cursor.fetchall()}


# Primary keys; a plain read that waits for nobody.
_TAKEN_BY: Final = """
SELECT r.id::text, r.workflow, t.event_names FROM aiki.runs r
JOIN aiki.routes t ON (t.namespace, t.workflow, t.version) = (r.namespace, r.workflow, r.version)
WHERE r.id = ANY(%b) AND t.event_names IS NOT NULL
"""


async def taken_by(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the workflow of each run, and the names of the events that it takes, if not any."""
    cursor = await connection.execute(_TAKEN_BY, [Uuids(run_ids)], prepare=True, binary=True)
    return {run_id: (workflow, frozenset(names)) for run_id, workflow, names in await cursor.fetchall()}


async def known(connection: Connection) -> list[tuple[str, str, str]]:
    """Return all known routes."""
    cursor = await connection.execute("SELECT namespace, workflow, version FROM aiki.routes", prepare=True, binary=True)
    return await cursor.fetchall()
