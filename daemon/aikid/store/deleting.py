"""Delete runs that have ended, each with all that is stored of it, in the transaction of the caller.

Three statements, so that none reads what is older than its locks: the rows of whole origins are locked, as far as
nobody else has them; then it is asked which may go; then all of those goes. Who attaches to a run, retries it or sends
it anything holds its row, so behind the locks nothing comes that would hold one. What says that a holder needs a run no
more is final (it has completed, was deleted, has left the generation), so that it is read without a lock.

Schedules keep the ids of their slots' runs, and parents their starts: what stands there is never started again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiki.core.states import State
from aiki.rules.retaining import Why, stays
from aikid.store import prepared
from aikid.store.arrays import Ints, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import LIFE

BATCH: Final = 200
"""So many runs are deleted in one commit, and their retries with them."""
FAMILY: Final = 10_000
"""Of a run that has started more, its starts and arrivals go later: an errand says that they are nobody's."""
LEFT_OVER: Final = "left_over"
"""The errand of a run that is gone: what is left of it goes, some at a time."""

# Primary keys: the runs, the first of their origins, and from each to its retry. What another has locked is passed
# over: nobody is waited for, and its origin stays whole.
_LOCK: Final = """
WITH RECURSIVE origin(id, next) AS (
  SELECT r.id, r.retried_by FROM aiki.runs r WHERE r.id = ANY(%b)
  UNION
  SELECT r.id, r.retried_by FROM aiki.runs x JOIN aiki.runs r ON r.id = x.origin_id WHERE x.id = ANY(%b)
  UNION
  SELECT r.id, r.retried_by FROM origin o JOIN aiki.runs r ON r.id = o.next
)
SELECT r.id::text FROM origin o JOIN aiki.runs r ON r.id = o.id ORDER BY r.id FOR UPDATE OF r SKIP LOCKED
"""
# Primary keys, and `children_watched`.
HOLDER: Final = f"""
coalesce(
  (SELECT n.id FROM aiki.runs p LEFT JOIN aiki.origins o ON o.origin_id = p.origin_id
    JOIN aiki.runs n ON n.id = coalesce(o.run_id, p.id)
    WHERE p.id = r.parent_id AND n.state <> '{State.COMPLETED}' AND n.generation = r.parent_generation),
  (SELECT q.id FROM aiki.children c JOIN aiki.runs q ON q.id = c.parent_id
    WHERE c.run_id = r.id AND NOT c.owned AND q.retried_by IS NULL AND q.state <> '{State.COMPLETED}'
      AND q.generation = c.generation LIMIT 1))
"""
"""A run that holds `r`, null if none does: its parent's newest retry, or one that has attached to it."""
# The same, and `errands`' primary key from the left. EXISTS beside an OR may be answered by a hash of the whole table.
_LOOK: Final = f"""
SELECT r.id::text, r.origin_id::text, {LIFE},
  coalesce(r.retried_by <> ALL(%b), false)
    OR r.origin_id <> ALL(%b) AND (SELECT f.id FROM aiki.runs f WHERE f.id = r.origin_id) IS NOT NULL
    OR (SELECT e.run_id FROM aiki.errands e WHERE e.run_id = r.id LIMIT 1) IS NOT NULL,
  {HOLDER}::text, coalesce(r.children, 0)
FROM unnest(%b) AS t(id) JOIN aiki.runs r ON r.id = t.id
"""
# Primary keys and ranges of them. What stands elsewhere is found by what its run says of it, in `listing_created`,
# `labels_created`, `ended_state` and the primary key of `keys`, and deleted by its place: nobody but who has locked the
# run changes it there, and OFFSET 0 has each found by a probe of its own, whatever is guessed of the tables' sizes. A
# key that is given to another meanwhile is no more the run's.
_OF_RUN: Final = ("journal", "attempts", "task_counts", "run_history", "deadlines", "generations", "task_key_waiters")
_OF_SMALL: Final = {"inbox": "run_id", "children": "parent_id"}
_FOUND: Final = "ARRAY(SELECT f.ctid FROM run g {given} CROSS JOIN LATERAL (SELECT x.ctid {found} OFFSET 0) AS f)"
_LISTED: Final = _FOUND.format(
    given="CROSS JOIN (VALUES (false), (true)) AS k(is_child)",
    found="""FROM aiki.listing x WHERE x.namespace = g.namespace AND x.is_child = k.is_child
      AND x.created_at = g.created_at AND x.run_id = g.id""",
)
_LABELLED: Final = _FOUND.format(
    given="CROSS JOIN LATERAL jsonb_each_text(g.labels) AS l",
    found="""FROM aiki.labels x WHERE x.namespace = g.namespace AND x.name = l.key AND x.value = l.value
      AND x.created_at = g.created_at AND x.run_id = g.id""",
)
_ENDED: Final = _FOUND.format(
    given="",
    found="""FROM aiki.ended x WHERE x.namespace = g.namespace AND x.workflow = g.workflow AND x.version = g.version
      AND x.state = g.state AND x.created_at = g.created_at AND x.run_id = g.id""",
)
_KEYED: Final = _FOUND.format(
    given="",
    found="""FROM aiki.keys x
      WHERE x.namespace = g.namespace AND x.workflow = g.workflow AND x.key = g.key AND x.run_id = g.id""",
)
_DELETE: Final = f"""
WITH run AS MATERIALIZED (
  SELECT r.id, r.namespace, r.workflow, r.version, r.state, r.created_at, r.labels, r.key FROM aiki.runs r
  WHERE r.id = ANY(%b)
), {", ".join(f"of_{table} AS (DELETE FROM aiki.{table} x WHERE x.run_id = ANY(%b))" for table in _OF_RUN)}, {
    ", ".join(f"of_{table} AS (DELETE FROM aiki.{table} x WHERE x.{key} = ANY(%b))" for table, key in _OF_SMALL.items())
}, left_over AS (
  INSERT INTO aiki.errands (run_id, kind) SELECT t.id, '{LEFT_OVER}' FROM unnest(%b) AS t(id)
), of_origins AS (
  DELETE FROM aiki.origins x WHERE x.origin_id = ANY(%b)
), of_listing AS (
  DELETE FROM aiki.listing x WHERE x.ctid = ANY({_LISTED})
), of_labels AS (
  DELETE FROM aiki.labels x WHERE x.ctid = ANY({_LABELLED})
), of_ended AS (
  DELETE FROM aiki.ended x WHERE x.ctid = ANY({_ENDED})
), kept AS (
  UPDATE aiki.keys x SET expires_at = aiki.now() + (%b)[1] * interval '1 second'
  WHERE x.ctid = ANY({_KEYED}) AND (%b)[1] > 0
), freed AS (
  DELETE FROM aiki.keys x WHERE x.ctid = ANY({_KEYED}) AND (%b)[1] <= 0
)
DELETE FROM aiki.runs r WHERE r.id = ANY(%b) RETURNING r.id::text
"""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What has become of runs: the ids of those that are gone, and why others stay."""

    gone: list[str] = field(default_factory=list)
    """Also those of the same origins that nobody has named."""
    kept: dict[str, Why] = field(default_factory=dict)
    """By the ids that were named."""
    holders: dict[str, str] = field(default_factory=dict)
    """Who holds those that are held."""


async def delete_runs(connection: Connection, run_ids: Sequence[str], *, key_seconds: int) -> Deleted:
    """Delete those of the runs, of any namespaces, that may go, and all of their origins, in the caller's transaction.

    Idempotency keys are held for `key_seconds` more; with 0 they are free at once. A parent goes before its children:
    these are held until then, so they are named by the next call, which may be in the same transaction.
    """
    named = Uuids(run_ids)
    locked = [row[0] for row in await prepared.rows(connection, _LOCK, [named, named])]
    found = _judged(await prepared.rows(connection, _LOOK, [Uuids(locked)] * 3))
    gone: list[str] = []
    if going := [run_id for run_id, one in found.items() if one.why is None]:
        gone = await _delete(connection, {run_id: found[run_id] for run_id in going}, key_seconds)
    kept = {run_id: found[run_id].why or Why.UNKNOWN if run_id in found else Why.UNKNOWN for run_id in run_ids}
    kept = {run_id: why for run_id, why in kept.items() if run_id not in set(gone)}
    return Deleted(gone, kept, {i: found[i].holder for i, why in kept.items() if why is Why.HELD})


@dataclass(slots=True)
class _Origin:
    """What is known of an origin: why it stays, if it does, and which of its runs have large families."""

    id: str
    why: Why | None = None
    holder: str = ""
    large: set[str] = field(default_factory=set)


def _judged(rows: Sequence[tuple[str, str, str, bool, str | None, int]]) -> dict[str, _Origin]:
    """Return by run what is known of its origin: all that are locked of it go, or none."""
    origins: dict[str, _Origin] = {}
    for run_id, origin_id, state, is_busy, holder, children in rows:
        one = origins.setdefault(origin_id, _Origin(origin_id))
        if children > FAMILY:
            one.large.add(run_id)
        why = stays(State(state), is_busy=is_busy, is_held=holder is not None)
        if why is not None and (one.why is None or why is Why.LIVE):
            one.why, one.holder = why, holder or ""
    return {run_id: origins[origin_id] for run_id, origin_id, *_ in rows}


async def _delete(connection: Connection, going: Mapping[str, _Origin], key_seconds: int) -> list[str]:
    """Delete runs that may go."""
    large = [run_id for run_id, origin in going.items() if run_id in origin.large]
    ids, small = Uuids(list(going)), Uuids([run_id for run_id in going if run_id not in set(large)])
    seconds, origins = Ints([key_seconds]), Uuids(list({origin.id for origin in going.values()}))
    parameters = [ids, *[ids] * len(_OF_RUN), *[small] * len(_OF_SMALL), Uuids(large), origins]
    rows = await prepared.rows(connection, _DELETE, [*parameters, *[seconds] * 3, ids])
    return [row[0] for row in rows]
