"""Worker sessions: lease rows, and the routes that each serves. All times are the database's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiki.core.states import State
from aiki.wire.messages import Fence, OpenSession, Route
from aikid.store.arrays import Array, Bools, Ints, Texts, Uuids
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
  INSERT INTO aiki.sessions (id, namespace, worker, ttl, expires_at, slots)
  SELECT %(id)s, %(namespace)s, %(worker)s, ttl, aiki.now() + ttl, %(slots)s::integer
  FROM (SELECT %(ttl)s::float8 * interval '1 second' AS ttl) AS given
  ON CONFLICT (id) DO NOTHING RETURNING id, ttl
), known AS (
  SELECT id, ttl FROM aiki.sessions
  WHERE id = %(id)s AND namespace = %(namespace)s AND closed_at IS NULL AND expires_at > aiki.now()
), alive AS (
  SELECT id, ttl FROM opened UNION ALL SELECT id, ttl FROM known
), served AS (
  INSERT INTO aiki.session_routes AS known (session_id, namespace, workflow, version, fingerprint)
  SELECT alive.id, %(namespace)s, t.workflow, t.version, nullif(t.fingerprint, '')
  FROM alive CROSS JOIN unnest(%(workflows)b, %(versions)b, %(fingerprints)b) AS t(workflow, version, fingerprint)
  ORDER BY t.workflow, t.version
  ON CONFLICT (session_id, workflow, version) DO UPDATE SET fingerprint = excluded.fingerprint
    WHERE known.fingerprint IS NULL AND excluded.fingerprint IS NOT NULL
)
SELECT {_NOW}, (SELECT extract(epoch FROM ttl)::float8 FROM alive)
"""


async def open(
    connection: Connection, namespace: str, request: OpenSession, routes: Mapping[tuple[str, str], Route]
) -> Lease:
    """Open a session, or find it open. `routes` are by workflow and version."""
    parameters = {
        "id": request.id,
        "namespace": namespace,
        "worker": request.worker,
        "workflows": Texts([workflow for workflow, _ in routes]),
        "versions": Texts([version for _, version in routes]),
        "fingerprints": Texts([route.fingerprint for route in routes.values()]),
        "ttl": request.ttl,
        "slots": request.slots,
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
  SELECT s.id, t.draining
  FROM unnest(%b, %b, %b) AS t(id, namespace, draining)
  JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
  WHERE s.closed_at IS NULL ORDER BY s.id FOR NO KEY UPDATE OF s
), renewed AS (
  UPDATE aiki.sessions s SET expires_at = aiki.now() + s.ttl, draining = s.draining OR mine.draining FROM mine
  WHERE s.id = mine.id AND s.closed_at IS NULL RETURNING s.namespace, s.id, s.ttl
)
SELECT NULL, NULL, {_NOW}, NULL
UNION ALL SELECT namespace, id::text, 0, extract(epoch FROM ttl)::float8 FROM renewed
"""
# `runs_running` by session: what a process was given long ago and did not name lost its claim's reply; what it named is
# counted. That is a hash table (`IS TRUE` keeps it one), in which each run is looked up once (OFFSET 0), so that
# thousands of claims cost no more than thousands of looks. The bounds are compared by their bytes, as workers do.
# One of a later time was claimed before the clock was set back: nobody knows when, and its worker alone has to say.
_COMPARE: Final = f"""
SELECT t.place, held.* FROM unnest(%b, %b, %b, %b, %b) AS t(place, namespace, id, after, until)
JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE h.is_named),
    (array_agg(ARRAY[h.id::text, h.epoch::text, h.claim_id]) FILTER (WHERE NOT h.is_named AND h.last_claimed_at
      NOT BETWEEN aiki.now() - s.ttl / 3 AND aiki.now() + s.ttl / 3 AND h.claim_id COLLATE "C" > t.after
      AND (t.until IS NULL OR h.claim_id COLLATE "C" <= t.until)))[1:%b]
  FROM (
    SELECT r.id, r.epoch, r.claim_id, r.last_claimed_at,
      ((t.place, r.claim_id) IN (SELECT * FROM unnest(%b, %b))) IS TRUE AS is_named
    FROM aiki.runs r WHERE r.session_id = s.id AND r.namespace = s.namespace AND r.state = '{State.RUNNING}' OFFSET 0
  ) AS h
) AS held
"""
# Only where that counts fewer runs than were named: `runs_running` again, and a full join, which is hashed.
_SHORT: Final = f"""
SELECT n.place, n.claim_id FROM unnest(%b, %b, %b) AS n(place, claim_id, runs)
FULL JOIN (
  SELECT t.place, r.claim_id, count(*) AS runs FROM unnest(%b, %b, %b) AS t(place, namespace, id)
  JOIN aiki.runs r ON r.session_id = t.id AND r.namespace = t.namespace AND r.state = '{State.RUNNING}'
  GROUP BY t.place, r.claim_id
) AS held ON held.place = n.place AND held.claim_id = n.claim_id
WHERE coalesce(n.runs, 0) > coalesce(held.runs, 0) LIMIT %b
"""

# `runs_running` by session. Unread arrivals are found by `inbox_unread`.
_NEWS: Final = f"""
SELECT t.place, held.* FROM unnest(%b, %b, %b) AS t(place, namespace, id)
JOIN aiki.sessions s ON s.id = t.id AND s.namespace = t.namespace
CROSS JOIN LATERAL (
  SELECT r.id::text, r.news_seq FROM aiki.runs r
  WHERE r.session_id = s.id AND r.namespace = s.namespace AND r.state = '{State.RUNNING}' AND r.news_seq > 0
    AND (r.wanted IS NOT NULL OR (
      SELECT i.number FROM aiki.inbox i WHERE i.run_id = r.id AND i.taken_seq IS NULL LIMIT 1) IS NOT NULL)
  LIMIT %b
) AS held
"""

SessionKey = tuple[str, str]
"""Namespace and session id: an id alone might be another namespace's."""


async def renew(
    connection: Connection, sessions: Sequence[SessionKey], draining: Sequence[bool]
) -> tuple[int, dict[SessionKey, float]]:
    """Renew the live ones of these sessions; return the database's clock, and each renewed one's lease in seconds.

    Of each it is said whether it is `draining`; it is from then on.
    """
    parameters = [
        Uuids([session for _, session in sessions]),
        Texts([namespace for namespace, _ in sessions]),
        Bools(draining),
    ]
    cursor = await connection.execute(_RENEW, parameters, prepare=True, binary=True)
    (_, _, now, _), *rows = await cursor.fetchall()
    return now, {(namespace, session): ttl for namespace, session, _, ttl in rows}


@dataclass(frozen=True, slots=True)
class Held:
    """The claims that a session says it holds: all of those after `after`, and up to `until` if that is given."""

    claims: Mapping[str, int]
    """How many runs each has, by its id."""
    after: str = ""
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Differing:
    """In what the claims that a session says it holds are not those that stand."""

    unlisted: list[Fence] = field(default_factory=list)
    """Runs that it claimed over a third of its lease ago under no claim that it holds."""
    short: list[str] = field(default_factory=list)
    """Claims that have fewer runs than it says."""


async def compare(
    connection: Connection, sessions: Sequence[SessionKey], held: Sequence[Held], *, most: int
) -> list[Differing]:
    """Return, for each session, in what its claims differ from what it holds. Of more than `most` some are left out."""
    named = [(place, claim_id) for place, one in enumerate(held) for claim_id in one.claims]
    parameters: list[Array | int] = [
        *_session_arrays(sessions),
        Texts([one.after for one in held]),
        Texts([one.until for one in held]),
        most,
        Ints([place for place, _ in named]),
        Texts([claim_id for _, claim_id in named]),
    ]
    cursor = await connection.execute(_COMPARE, parameters, prepare=True, binary=True)
    found = [Differing() for _ in sessions]
    short = []
    for place, runs, unlisted in await cursor.fetchall():
        found[place].unlisted.extend(Fence(run_id, int(epoch), claim_id) for run_id, epoch, claim_id in unlisted or ())
        if runs < sum(held[place].claims.values()):
            short.append(place)
    if short:
        for place, claim_id in await _short(connection, sessions, held, short, most=most):
            found[place].short.append(claim_id)
    return found


async def _short(
    connection: Connection, sessions: Sequence[SessionKey], held: Sequence[Held], places: Sequence[int], *, most: int
) -> list[tuple[int, str]]:
    named = [(n, claim_id, runs) for n, place in enumerate(places) for claim_id, runs in held[place].claims.items()]
    parameters: list[Array | int] = [
        Ints([n for n, _, _ in named]),
        Texts([claim_id for _, claim_id, _ in named]),
        Ints([runs for _, _, runs in named]),
        *_session_arrays([sessions[place] for place in places]),
        most,
    ]
    cursor = await connection.execute(_SHORT, parameters, prepare=True, binary=True)
    return [(places[n], claim_id) for n, claim_id in await cursor.fetchall()]


def _session_arrays(sessions: Sequence[SessionKey]) -> list[Array]:
    return [
        Ints(range(len(sessions))),
        Texts([namespace for namespace, _ in sessions]),
        Uuids([session for _, session in sessions]),
    ]


async def news(connection: Connection, sessions: Sequence[SessionKey], *, most: int) -> list[list[tuple[str, int]]]:
    """Return, for each session, runs that it holds and something has come to that is unread, each with its number.

    Of more than `most` some are left out.
    """
    parameters: list[Array | int] = [*_session_arrays(sessions), most]
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
