"""Lock what units do to families, and read what stands of it already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import State
from aiki.wire.messages import Unit
from aikid.store import prepared
from aikid.store.arrays import Texts, Uuids
from aikid.store.inbox import NEWEST
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH
from aikid.store.units import FENCED, fence_arrays

# All rows that the statements behind this one change are locked first, as one set in id order by their primary key:
# those of units, of their parents if they end, of whom they send to, and of the runs that hold the keys of what they
# start. (What takes a key meanwhile is met out of this order: then Postgres ends one of two that wait for each other,
# and it is done again.) A unit that holds here may still not hold behind it: then all is undone.
_LOCK: Final = f"""
WITH unit AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b, %b) WITH ORDINALITY AS u({", ".join(FENCED)}, n)
), locked AS MATERIALIZED (
  SELECT r.id, r.namespace, r.state, r.epoch, r.claim_id, r.origin_id, r.generation, r.depth, r.priority,
    r.children
  FROM aiki.runs r
  WHERE (r.id, r.namespace) IN (
    SELECT u.run_id, u.namespace FROM unit u
    UNION SELECT {NEWEST.format("w.id")}, w.namespace FROM unnest(%b, %b) AS w(namespace, id)
    UNION SELECT (SELECT p.parent_id FROM aiki.runs p WHERE p.id = e.id), e.namespace
      FROM unnest(%b, %b) AS e(namespace, id)
    UNION SELECT (SELECT h.run_id FROM aiki.keys h
        WHERE h.namespace = k.namespace AND h.workflow = k.workflow AND h.key = k.key), k.namespace
      FROM unnest(%b, %b, %b) AS k(namespace, workflow, key))
  ORDER BY r.id FOR NO KEY UPDATE
)
SELECT u.n, l.origin_id::text, l.generation, coalesce(l.depth, 0), l.priority, coalesce(l.children, 0)
FROM unit u JOIN locked l ON l.id = u.run_id
WHERE l.namespace = u.namespace AND l.state = '{State.RUNNING}' AND l.epoch = u.epoch AND l.claim_id = u.claim_id
  AND (u.base IS NULL OR u.base = {LENGTH.format("l")})
"""


@dataclass(frozen=True, slots=True)
class Parent:
    """A run that starts others."""

    origin_id: str
    generation: int
    depth: int
    priority: int
    children: int
    """How many it has started so far."""


async def lock(connection: Connection, namespaces: Sequence[str], units: Sequence[Unit]) -> dict[int, Parent]:
    """Lock all that units touch, and return by their places the runs of those whose claims hold."""
    both = list(zip(namespaces, units, strict=True))
    others = [(namespace, op.run_id) for namespace, unit in both for op in unit.ops]
    others += [(namespace, op.run_id) for namespace, unit in both for op in unit.stops]
    ending = [(namespace, unit.fence.run_id) for namespace, unit in both if unit.end is not None]
    keyed = [(namespace, op) for namespace, unit in both for op in unit.starts if op.options.key is not None]
    parameters = [
        *fence_arrays(namespaces, units),
        *(Texts([namespace for namespace, _ in others]), Uuids([run_id for _, run_id in others])),
        *(Texts([namespace for namespace, _ in ending]), Uuids([run_id for _, run_id in ending])),
        Texts([namespace for namespace, _ in keyed]),
        Texts([op.workflow for _, op in keyed]),
        Texts([op.options.key for _, op in keyed]),
    ]
    return {n - 1: Parent(*parent) for n, *parent in await prepared.rows(connection, _LOCK, parameters)}


@dataclass(frozen=True, slots=True)
class Child:
    """The run that a start stands for, and its state: None if it is gone."""

    run_id: str
    is_owned: bool
    state: State | None


# Primary keys.
_KNOWN: Final = """
SELECT c.parent_id::text, c.start_id::text, c.run_id::text, c.owned, r.state
FROM unnest(%b, %b) AS t(parent_id, start_id) CROSS JOIN LATERAL (
  SELECT * FROM aiki.children x WHERE x.parent_id = t.parent_id AND x.start_id = t.start_id LIMIT 1
) AS c LEFT JOIN aiki.runs r ON r.id = c.run_id
"""


async def known(connection: Connection, starts: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Child]:
    """Return what those of the starts, each with its parent's id before its own, stand for that were carried out."""
    parameters = [Uuids([parent_id for parent_id, _ in starts]), Uuids([start_id for _, start_id in starts])]
    return {
        (parent_id, start_id): Child(run_id, is_owned, state and State(state))
        for parent_id, start_id, run_id, is_owned, state in await prepared.rows(connection, _KNOWN, parameters)
    }
