"""Attach runs to what they wait for and have not started: runs that they found by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import TERMINAL
from aikid.store import errands, prepared
from aikid.store.arrays import Ints, Texts, Uuids
from aikid.store.births import Birth
from aikid.store.pool import Connection
from aikid.store.sql import quoted

_MOST_WAITING: Final = 10_000
# Who waits for these runs, and for who waits, without end: their parents, and by `children_watched` those who have
# attached to them. A chain has no more links than a family is deep, unless it is one of attached runs.
_WAITING: Final = f"""
WITH RECURSIVE waiting(run_id, id) AS (
  SELECT t.id, t.id FROM unnest(%b) AS t(id)
  UNION
  SELECT w.run_id, o.id FROM waiting w CROSS JOIN LATERAL (
    SELECT r.parent_id AS id FROM aiki.runs r WHERE r.id = w.id AND r.parent_id IS NOT NULL
    UNION ALL
    SELECT c.parent_id FROM aiki.children c WHERE c.run_id = w.id AND NOT c.owned
  ) AS o
)
SELECT w.run_id::text, w.id::text FROM waiting w LIMIT {_MOST_WAITING}
"""


async def waiting(connection: Connection, run_ids: Sequence[str]) -> dict[str, set[str]]:
    """Return who waits for these runs, or for those who wait, by run: as many as can be looked at."""
    found: dict[str, set[str]] = {}
    for run_id, other in await prepared.rows(connection, _WAITING, [Uuids(list(dict.fromkeys(run_ids)))]):
        found.setdefault(run_id, set()).add(other)
    return found


@dataclass(frozen=True, slots=True)
class Watch:
    """A start that stands for a run which another has made."""

    birth: Birth
    start_id: str
    run_id: str


# The runs that are waited for are locked in id order, most of them for the second time: an end that was waiting for the
# row sees the mark, and of one that was there before the errand is left here. What one row gets is folded: a run may
# wait, and be waited for. Of one that was deleted meanwhile nobody would ever hear: then all is undone and repeated.
_WATCH: Final = f"""
WITH watch AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b, %b) AS w(parent_id, generation, parent_close, start_id, run_id)
), locked AS MATERIALIZED (
  SELECT r.id, r.state FROM aiki.runs r WHERE r.id IN (SELECT w.run_id FROM watch w) ORDER BY r.id FOR NO KEY UPDATE
), attached AS (
  INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)
  SELECT w.parent_id, w.start_id, w.run_id, w.generation, false, w.parent_close, aiki.now() FROM watch w
  WHERE EXISTS (SELECT FROM locked l WHERE l.id = w.run_id) OR aiki.again()
  ON CONFLICT DO NOTHING RETURNING parent_id
), touched AS (
  SELECT t.id, sum(t.count) AS count FROM (
    SELECT a.parent_id AS id, 1 AS count FROM attached a UNION ALL SELECT l.id, 0 FROM locked l
  ) AS t GROUP BY t.id
), counted AS (
  UPDATE aiki.runs r SET children = coalesce(r.children, 0) + t.count FROM touched t WHERE r.id = t.id
)
INSERT INTO aiki.errands (run_id, kind)
SELECT l.id, '{errands.WATCHED}' FROM locked l WHERE l.state IN ({quoted(TERMINAL)})
{errands.AGAIN} RETURNING kind
"""


async def watch(connection: Connection, watches: Sequence[Watch]) -> int:
    """Have parents hear of the ends of runs that they have not started; return how many errands that left.

    An end that has been is told, too.
    """
    parameters = [
        Uuids([one.birth.parent_id for one in watches]),
        Ints([one.birth.generation for one in watches]),
        Texts([one.birth.parent_close for one in watches]),
        Uuids([one.start_id for one in watches]),
        Uuids([one.run_id for one in watches]),
    ]
    return len(await prepared.rows(connection, _WATCH, parameters))
