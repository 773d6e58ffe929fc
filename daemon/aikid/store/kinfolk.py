"""Read a run's family: its retries, the children that these own, and so on down."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiki.core.states import State
from aikid.store import prepared
from aikid.store.arrays import Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import LIFE

# Primary keys, and the left of that of `children`: from each run to its retry, to the first of its origin, and to what
# it has started. One that is met on several ways goes with the last.
_FAMILY: Final = f"""
WITH RECURSIVE family(id, depth) AS (
  SELECT r.id, 0 FROM aiki.runs r WHERE r.id = (%b)[1] AND r.namespace = (%b)[1]
  UNION
  SELECT n.id, n.depth FROM family f JOIN aiki.runs r ON r.id = f.id CROSS JOIN LATERAL (
    SELECT r.origin_id, f.depth UNION ALL SELECT r.retried_by, f.depth WHERE r.retried_by IS NOT NULL
    UNION ALL SELECT c.run_id, f.depth + 1 FROM aiki.children c WHERE c.parent_id = f.id AND c.owned
  ) AS n(id, depth)
)
SELECT r.id::text, max(m.depth), {LIFE} FROM (SELECT * FROM family LIMIT (%b)[1]) AS m
JOIN aiki.runs r ON r.id = m.id GROUP BY r.id ORDER BY 2, 1
"""


class Kin(NamedTuple):
    """A run of a family, so many generations below the one that was asked for."""

    id: str
    depth: int
    state: State


async def family(connection: Connection, namespace: str, run_id: str, *, most: int) -> list[Kin]:
    """Return the run and its family, parents before their children, no more than `most`; none if there is no run."""
    given = [Uuids([run_id]), Texts([namespace]), Ints([most])]
    return [Kin(found, depth, State(state)) for found, depth, state in await prepared.rows(connection, _FAMILY, given)]
