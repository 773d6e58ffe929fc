"""Worker sessions: lease rows, and the routes that each serves. All times are the database's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import State
from aiki.wire.messages import Fence, OpenSession
from aikid.store.arrays import Array, Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS


@dataclass(frozen=True, slots=True)
class Lease:
    """A session after a request: whether it lives, the database's clock, and its lease in seconds."""

    alive: bool
    now: int
    ttl: float


_NOW: Final = MICROSECONDS.format("aiki.now()")
# An id that exists already is left as it is: a repeat finds it alive, a late repeat after its end does not revive it.
# One that is alive serves from now on what a repeat names beside what it serves.
_OPEN: Final = f"""
WITH opened AS (
  INSERT INTO aiki.sessions (id, namespace, worker, ttl, expires_at)
  SELECT %(id)s, %(namespace)s, %(worker)s, ttl, aiki.now() + ttl
  FROM (SELECT %(ttl)s::float8 * interval '1 second' AS ttl) AS given
  ON CONFLICT (id) DO NOTHING RETURNING id, ttl
), known AS (
  SELECT id, ttl FROM aiki.sessions
  WHERE id = %(id)s AND namespace = %(namespace)s AND closed_at IS NULL AND expires_at > aiki.now()
), alive AS (
  SELECT id, ttl FROM opened UNION ALL SELECT id, ttl FROM known
), served AS (
  INSERT INTO aiki.session_routes (session_id, namespace, workflow, version)
  SELECT alive.id, %(namespace)s, t.workflow, t.version
  FROM alive CROSS JOIN unnest(%(workflows)b, %(versions)b) AS t(workflow, version)
  ON CONFLICT DO NOTHING
)
SELECT {_NOW}, (SELECT extract(epoch FROM ttl)::float8 FROM alive)
"""


async def open(
    connection: Connection, namespace: str, request: OpenSession, routes: Collection[tuple[str, str]]
) -> Lease:
    """Open a session, or find it open. `routes` are workflows and versions, each once."""
    parameters = {
        "id": request.id,
        "namespace": namespace,
        "worker": request.worker,
        "workflows": Texts([workflow for workflow, _ in routes]),
        "versions": Texts([version for _, version in routes]),
        "ttl": request.ttl,
    }
    cursor = await connection.execute(_OPEN, parameters, prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return Lease(row[1] is not None, row[0], row[1] or request.ttl)


# Never an upsert: a session that ended stays ended. It ends when it is closed, not when its lease runs out: until the
# rescuer has buried it (under the row's lock) nobody else has its runs, and after an outage renewals may come before
# the rescuer's amnesty. Sessions in id order; each renewal changes one small row that no
# index mentions.
_RENEW: Final = f"""
WITH mine AS MATERIALIZED (
  SELECT s.id FROM unnest(%b, %b) AS t(id, namespace) JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
  WHERE s.closed_at IS NULL ORDER BY s.id FOR NO KEY UPDATE OF s
), renewed AS (
  UPDATE aiki.sessions s SET expires_at = aiki.now() + s.ttl FROM mine
  WHERE s.id = mine.id AND s.closed_at IS NULL RETURNING s.namespace, s.id, s.ttl
)
SELECT NULL, NULL, {_NOW}, NULL
UNION ALL SELECT namespace, id::text, 0, extract(epoch FROM ttl)::float8 FROM renewed
"""
# `runs_running` by session: what a process was given long ago and did not name lost its claim's reply. What it named
# is a hash table (`IS NOT TRUE` keeps it one), so that thousands of claims cost no more than thousands of looks. The
# bounds are compared by their bytes, as workers do.
_UNLISTED: Final = f"""
SELECT t.place, lost.* FROM unnest(%b, %b, %b, %b, %b) AS t(place, namespace, id, after, until)
JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
CROSS JOIN LATERAL (
  SELECT r.id::text, r.epoch, r.claim_id FROM aiki.runs r
  WHERE r.session_id = s.id AND r.namespace = s.namespace AND r.state = '{State.RUNNING}'
    AND r.last_claimed_at < aiki.now() - s.ttl / 3
    AND r.claim_id COLLATE "C" > t.after AND (t.until IS NULL OR r.claim_id COLLATE "C" <= t.until)
    AND ((t.place, r.claim_id) IN (SELECT * FROM unnest(%b, %b))) IS NOT TRUE
  LIMIT %b
) AS lost
"""

# `runs_running` by session. Unread arrivals are found by `inbox_unread`.
_NEWS: Final = f"""
SELECT t.place, held.* FROM unnest(%b, %b, %b) AS t(place, namespace, id)
JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
CROSS JOIN LATERAL (
  SELECT r.id::text, r.news_seq FROM aiki.runs r
  WHERE r.session_id = s.id AND r.namespace = s.namespace AND r.state = '{State.RUNNING}' AND r.news_seq > 0
    AND (r.wanted IS NOT NULL OR EXISTS (SELECT FROM aiki.inbox i WHERE i.run_id = r.id AND i.taken_seq IS NULL))
  LIMIT %b
) AS held
"""

SessionKey = tuple[str, str]
"""Namespace and session id: an id alone might be another namespace's."""


async def renew(connection: Connection, sessions: Sequence[SessionKey]) -> tuple[int, dict[SessionKey, float]]:
    """Renew the live ones of these sessions; return the database's clock, and each renewed one's lease in seconds."""
    parameters = [Uuids([session for _, session in sessions]), Texts([namespace for namespace, _ in sessions])]
    cursor = await connection.execute(_RENEW, parameters, prepare=True, binary=True)
    (_, _, now, _), *rows = await cursor.fetchall()
    return now, {(namespace, session): ttl for namespace, session, _, ttl in rows}


@dataclass(frozen=True, slots=True)
class Held:
    """The claims that a session says it holds: all of those after `after`, and up to `until` if that is given."""

    claim_ids: Sequence[str]
    after: str = ""
    until: str | None = None


async def unlisted(
    connection: Connection, sessions: Sequence[SessionKey], held: Sequence[Held], *, most: int
) -> list[list[Fence]]:
    """Return, for each session, runs that it claimed over a third of its lease ago under no claim that it holds.

    Of more than `most` some are left out.
    """
    named = [(place, claim_id) for place, one in enumerate(held) for claim_id in one.claim_ids]
    parameters: list[Array | int] = [
        Ints(range(len(sessions))),
        Texts([namespace for namespace, _ in sessions]),
        Uuids([session for _, session in sessions]),
        Texts([one.after for one in held]),
        Texts([one.until for one in held]),
        Ints([place for place, _ in named]),
        Texts([claim_id for _, claim_id in named]),
        most,
    ]
    cursor = await connection.execute(_UNLISTED, parameters, prepare=True, binary=True)
    lost: list[list[Fence]] = [[] for _ in sessions]
    for place, *fence in await cursor.fetchall():
        lost[place].append(Fence(*fence))
    return lost


async def news(connection: Connection, sessions: Sequence[SessionKey], *, most: int) -> list[list[tuple[str, int]]]:
    """Return, for each session, runs that it holds and something has come to that is unread, each with its number.

    Of more than `most` some are left out.
    """
    parameters: list[Array | int] = [
        Ints(range(len(sessions))),
        Texts([namespace for namespace, _ in sessions]),
        Uuids([session for _, session in sessions]),
        most,
    ]
    cursor = await connection.execute(_NEWS, parameters, prepare=True, binary=True)
    told: list[list[tuple[str, int]]] = [[] for _ in sessions]
    for place, run_id, number in await cursor.fetchall():
        told[place].append((run_id, number))
    return told


_CLOSE: Final = """
UPDATE aiki.sessions SET closed_at = aiki.now() WHERE id = %s AND namespace = %s AND closed_at IS NULL
"""


async def close(connection: Connection, namespace: str, session: str) -> None:
    """End the session; its runs are taken from it by `rescue`."""
    await connection.execute(_CLOSE, [session, namespace], prepare=True)


async def now(connection: Connection) -> int:
    """Return the database's clock."""
    cursor = await connection.execute(f"SELECT {_NOW}", prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
