"""Read how long ended runs are kept, route by route, and walk to those whose time is over.

Plain reads that wait for nobody. What is read of a run here is final but for what `deleting` looks at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import MsgspecError

from aiki.core.errors import UsageError
from aiki.core.retention import ALL, FOR_EVER, NOTHING, Periods, check
from aiki.core.states import State
from aiki.wire.codec import decoder
from aikid.store import prepared
from aikid.store.arrays import Array, Ints, Texts, Uuids
from aikid.store.deleting import FAMILY, HOLDER
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS

ROUTES: Final = 500
LOOKED: Final = 1_000
_FIRST: Final = "00000000-0000-0000-0000-000000000000"
_KEPT: Final = Periods(FOR_EVER, FOR_EVER, FOR_EVER)


RouteKey: TypeAlias = tuple[str, str, str]
"""Namespace, workflow, version."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a route: by the manifest that names it, by its code, and for all workflows by a manifest."""

    route: RouteKey
    named: Periods
    declared: Periods
    of_all: Periods


class Mark(NamedTuple):
    """Where a run stands among those of its route and state: when it was stored, in microseconds, and its id."""

    created: int = 0
    id: str = _FIRST


_BEGINNING: Final = Mark()


@dataclass(frozen=True, slots=True)
class Stretch:
    """The ended runs of a route and state that have been kept for so many microseconds, from a mark on."""

    route: RouteKey
    state: State
    period: int
    after: Mark = _BEGINNING


# The primary keys of both tables, a page of routes from where the last one ended.
_OF_ROUTES: Final = f"""
SELECT r.namespace, r.workflow, r.version, p.periods, r.retention, a.periods
FROM {{routes}}
LEFT JOIN aiki.retention p ON p.namespace = r.namespace AND p.workflow = r.workflow
LEFT JOIN aiki.retention a ON a.namespace = r.namespace AND a.workflow = '{ALL}'
"""
_SAID: Final = f"""
{_OF_ROUTES.format(routes="aiki.routes r")}
WHERE (r.namespace, r.workflow, r.version) > ((%b)[1], (%b)[1], (%b)[1])
ORDER BY r.namespace, r.workflow, r.version LIMIT {ROUTES}
"""
_OF: Final = _OF_ROUTES.format(
    routes="unnest(%b, %b, %b) AS t(namespace, workflow, version) JOIN aiki.routes r"
    " ON (r.namespace, r.workflow, r.version) = (t.namespace, t.workflow, t.version)"
)
_TOO_OLD: Final = """
e.namespace = t.namespace AND e.workflow = t.workflow AND e.version = t.version AND e.state = t.state
AND e.created_at < aiki.now() - t.period * interval '1 microsecond'
"""
# `ended_state`, one probe each: a run ends after it was created.
_HAVE_ANY: Final = f"""
SELECT t.n FROM unnest(%b, %b, %b, %b, %b) WITH ORDINALITY AS t(namespace, workflow, version, state, period, n)
WHERE EXISTS (SELECT FROM aiki.ended e WHERE {_TOO_OLD})
"""
# `ended_state` from the mark on, oldest first, then the runs by their primary key, and who holds them. Of an origin
# the newest alone is looked at: it says when all of it goes. How long a journal is, the end of a range of its own says.
_LOOK: Final = f"""
WITH seen AS MATERIALIZED (
  SELECT e.created_at, e.run_id, t.period
  FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS t(namespace, workflow, version, state, period, created, id)
  CROSS JOIN LATERAL (
    SELECT e.created_at, e.run_id FROM aiki.ended e
    WHERE {_TOO_OLD} AND (e.created_at, e.run_id) > ('epoch'::timestamptz + t.created * interval '1 microsecond', t.id)
    ORDER BY e.created_at, e.run_id LIMIT {LOOKED}
  ) AS e
)
SELECT {MICROSECONDS.format("s.created_at")}, s.run_id::text,
  CASE WHEN r.retried_by IS NULL AND r.finished_at < aiki.now() - s.period * interval '1 microsecond'
    AND {HOLDER} IS NULL THEN {LENGTH.format("r")} + r.history_seq + 2 * least(coalesce(r.children, 0), {FAMILY}) END
FROM seen s LEFT JOIN aiki.runs r ON r.id = s.run_id ORDER BY s.created_at, s.run_id
"""


async def said(connection: Connection, after: RouteKey) -> list[Said]:
    """Return what is said of the next ROUTES routes behind one, in their order."""
    return _said(await prepared.rows(connection, _SAID, [Texts([word]) for word in after]))


async def of_routes(connection: Connection, routes: Sequence[tuple[str, str, str]]) -> list[Said]:
    """Return what is said of these routes, as far as they are known."""
    return _said(
        await prepared.rows(connection, _OF, [Texts([route[column] for route in routes]) for column in range(3)])
    )


def _said(rows: Sequence[Sequence[Any]]) -> list[Said]:
    return [Said((row[0], row[1], row[2]), *(_periods(stored) for stored in row[3:])) for row in rows]


async def having_any(connection: Connection, stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return those of the stretches that may hold a run whose time is over."""
    rows = await prepared.rows(connection, _HAVE_ANY, _arrays(stretches))
    return [stretches[n - 1] for n in sorted(n for (n,) in rows)]


async def look(connection: Connection, stretch: Stretch) -> tuple[list[tuple[str, int]], Mark | None]:
    """Return, of the next LOOKED runs of a stretch, those that are to go, and where the rest begins if there is any.

    With each comes how many rows it has, more or less.
    """
    marks: list[Array] = [Ints([stretch.after.created]), Uuids([stretch.after.id])]
    rows = await prepared.rows(connection, _LOOK, [*_arrays([stretch]), *marks])
    end = Mark(*rows[-1][:2]) if len(rows) == LOOKED else None
    return [(run_id, weight) for _, run_id, weight in rows if weight is not None], end


def _arrays(stretches: Sequence[Stretch]) -> list[Array]:
    return [
        *(Texts([one.route[column] for one in stretches]) for column in range(3)),
        Texts([one.state for one in stretches]),
        Ints([one.period for one in stretches]),
    ]


def _periods(stored: bytes | None) -> Periods:
    """Return what is stored. What cannot be read, for a newer daemon may have written it, keeps all."""
    if stored is None:
        return NOTHING
    try:
        return check(decoder(Periods).decode(stored))
    except (MsgspecError, UsageError):
        return _KEPT
