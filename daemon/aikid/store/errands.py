"""Own what is still to be told of a run's end, or cancel, when that is committed: a row for each such errand.

It is left by whatever statement ends a run, so that none grows with the number of those who are to hear of it, and done
by a loop: whatever it reads was committed before, so nobody is overlooked, and nothing need be counted under locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aiki.core.states import TERMINAL, State
from aiki.rules.arriving import CHILD
from aikid.store.arrays import Uuids
from aikid.store.ends import SEND_ID, VALUE
from aikid.store.inbox import REACHING, TOLD, Reached, coming
from aikid.store.pool import Connection
from aikid.store.sql import quoted

BATCH: Final = 1_000
"""Who is told in one commit, at most."""
END: Final = "end"
"""Its parent is to hear of its end."""
WATCHED: Final = "watched"
"""Who else waits for it is to hear of its end."""
CLOSE: Final = "close"
"""Its children are to end."""
_TERMINAL: Final = quoted(TERMINAL)

# -- leaving them: a part of each statement that ends runs

# A run that somebody waits for without having started it has a count of children that is not null, be it 0: who waits
# writes that under the run's lock, so its end sees it, whenever the lists of who waits are read.
#
# A later word renews an errand. It waits for whoever is doing that, and does not see what is new; or he sees it.
AGAIN: Final = "ON CONFLICT (run_id, kind) DO UPDATE SET upto = excluded.upto"
LEFT: Final = f"""
errand AS (
  INSERT INTO aiki.errands (run_id, kind, upto)
  SELECT e.id, k.kind, e.children FROM ended e CROSS JOIN (VALUES ('{END}'), ('{WATCHED}'), ('{CLOSE}')) AS k(kind)
  WHERE (e.parent_id IS NOT NULL OR e.children IS NOT NULL) AND e.state IN ({_TERMINAL}) AND CASE k.kind
    WHEN '{END}' THEN e.parent_id IS NOT NULL WHEN '{WATCHED}' THEN e.children IS NOT NULL ELSE e.children > 0 END
  {AGAIN} RETURNING kind
)
"""
"""A common table expression beside `ended`, which returns these columns of runs that have left a state: `parent_id` is
null if there is no parent, or it has heard in this very statement."""
# Which of its children a run had before its cancel their count says, under its lock: clocks are set back. One statement
# cannot renew an errand that it has left itself.
CLOSING: Final = f"""
, closing AS (
  INSERT INTO aiki.errands (run_id, kind, upto)
  SELECT f.id, '{CLOSE}', f.children FROM fit f
  WHERE f.n = ANY(%b) AND f.children > 0 AND coalesce(f.target, '') NOT IN ({_TERMINAL})
  {AGAIN} RETURNING kind
)
"""
"""A common table expression beside `fit`, for those of its units by which runs take in that they are cancelled."""

# -- doing them

_ARE_LEFT: Final = "SELECT EXISTS (SELECT FROM aiki.errands)"


async def are_left(connection: Connection) -> bool:
    """Tell whether there is anything to be done: mostly there is not, and no more is asked then."""
    row = await (await connection.execute(_ARE_LEFT, prepare=True, binary=True)).fetchone()
    return row is not None and row[0]


# -- telling of ends

# Errands that another daemon does are passed over; those who are told are locked in id order by their primary key, and
# asked by their newest version whether they still can hear. Parents come first: there are no more of them than errands.
# `children_watched` finds who else waits for a run. Which of these were told before, in one of several commits, is in
# the inbox, by its unique index; nobody else tells it, since the errand is locked.
_TELL: Final = f"""
WITH errand AS MATERIALIZED (
  SELECT e.run_id, e.kind FROM aiki.errands e WHERE e.kind IN ('{END}', '{WATCHED}') LIMIT {BATCH}
  FOR UPDATE SKIP LOCKED
), over AS MATERIALIZED (
  SELECT e.kind, r.id, r.state, r.origin_id, r.parent_id, r.parent_generation
  FROM errand e JOIN aiki.runs r ON r.id = e.run_id
), hearing AS (
  SELECT o.id AS child, o.state, o.origin_id AS start_id, o.parent_id AS id, o.parent_generation AS generation,
    NULL::uuid AS send_id
  FROM over o WHERE o.kind = '{END}'
  UNION ALL
  SELECT o.id, o.state, c.start_id, c.parent_id, c.generation, {SEND_ID.format("c.start_id", "o.id")}
  FROM over o CROSS JOIN LATERAL (
    SELECT * FROM aiki.children c WHERE c.run_id = o.id AND NOT c.owned) AS c
  WHERE o.kind = '{WATCHED}'
), untold AS MATERIALIZED (
  SELECT h.*, p.origin_id AS hearer, row_number() OVER (ORDER BY h.send_id NULLS FIRST) AS n
  FROM hearing h JOIN aiki.runs p ON p.id = h.id
  WHERE p.state NOT IN ({_TERMINAL}) AND p.imported IS NULL AND p.generation = h.generation AND (
    SELECT i.number FROM aiki.inbox i WHERE i.origin_id = p.origin_id AND i.send_id = h.send_id) IS NULL
), locked AS MATERIALIZED (
  SELECT r.id, r.state, r.origin_id, r.generation, r.news_seq, r.news_at, r.waits, r.wake_news FROM aiki.runs r
  WHERE r.id IN (SELECT u.id FROM untold u WHERE u.n <= {BATCH}) ORDER BY r.id FOR NO KEY UPDATE
), telling AS MATERIALIZED (
  SELECT u.child, u.n, u.state, u.start_id, u.send_id, u.id, u.hearer AS origin_id
  FROM untold u FULL JOIN locked l ON l.id = u.id
  WHERE coalesce(u.n, {BATCH} + 1) <= {BATCH} AND coalesce(l.state, '{min(TERMINAL)}') NOT IN ({_TERMINAL})
    AND coalesce(l.generation, -1) = u.generation
), {{coming}}, {REACHING}, done AS (
  DELETE FROM aiki.errands e USING errand d WHERE e.run_id = d.run_id AND e.kind = d.kind
    AND (d.kind = '{END}' OR d.run_id NOT IN (SELECT u.child FROM untold u WHERE u.n > {BATCH}))
)
SELECT 'left', (SELECT count(*) FROM errand) + (SELECT count(*) FROM untold), NULL, NULL, NULL, NULL {TOLD.format("")}
""".format(
    coming=coming(f"""
  SELECT t.id, t.n, 2, '{CHILD}', t.start_id::text, t.send_id, NULL, NULL, {VALUE.format("t.child", "t.state")},
    t.origin_id, '{CHILD}' FROM telling t""")
)


async def tell(connection: Connection) -> tuple[Reached, bool]:
    """Tell of ends whose errands nobody else does; return whom that reached, and whether there may be more to tell."""
    reached = Reached()
    more = False
    cursor = await connection.execute(_TELL, prepare=True, binary=True)
    for row in await cursor.fetchall():
        if row[0] == "left":
            more = row[1] >= BATCH
        else:
            reached.add(row)
    return reached, more


# -- closing

# Errands that another daemon does are passed over. `children`'s primary key from the left, then runs by theirs. Of a
# run that goes on only what it has started before it was cancelled is to end: what it takes back may need children.
_OPEN: Final = f"""
WITH errand AS MATERIALIZED (
  SELECT e.run_id, e.upto FROM aiki.errands e WHERE e.kind = '{CLOSE}' ORDER BY e.run_id LIMIT 100
  FOR UPDATE SKIP LOCKED
), parent AS MATERIALIZED (
  SELECT e.run_id, e.upto, r.namespace, r.state IN ({_TERMINAL}) AS is_over,
    r.state = '{State.CANCELLED}' OR r.cancel_seq IS NOT NULL AS is_cancelled
  FROM errand e LEFT JOIN aiki.runs r ON r.id = e.run_id
), open AS MATERIALIZED (
  SELECT p.run_id AS parent_id, c.run_id FROM parent p CROSS JOIN LATERAL (
    SELECT c.run_id FROM aiki.children c JOIN aiki.runs r ON r.id = c.run_id
    WHERE c.parent_id = p.run_id AND c.owned AND (p.is_over OR c.before < p.upto)
      AND (c.parent_close = 'cancel' OR (c.parent_close = 'wait' AND p.is_cancelled))
      AND r.cancel_seq IS NULL AND r.state NOT IN ({_TERMINAL})
    LIMIT {BATCH} + 1
  ) AS c ORDER BY p.run_id LIMIT {BATCH} + 1
)
SELECT p.run_id::text, p.namespace, (SELECT array_agg(o.run_id::text) FROM open o WHERE o.parent_id = p.run_id)
FROM parent p ORDER BY p.run_id
"""
_DONE: Final = f"DELETE FROM aiki.errands WHERE kind = '{CLOSE}' AND run_id = ANY(%b)"


@dataclass(frozen=True, slots=True)
class Closing:
    """What is to be cancelled now, by namespace, and whose children all are then; `more` says that others are left."""

    children: dict[str, list[str]] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    more: bool = False


async def next_to_close(connection: Connection) -> Closing:
    """Return children that are to end, BATCH at most, by errands that nobody else does while the transaction lasts."""
    cursor = await connection.execute(_OPEN, prepare=True, binary=True)
    closing, left = Closing(), BATCH
    rows = await cursor.fetchall()
    for parent_id, namespace, children in rows:
        some = (children or [])[:left]
        left -= len(some)
        if some:
            closing.children.setdefault(namespace, []).extend(some)
        if len(some) < len(children or []) or not left:
            return Closing(closing.children, closing.parents, more=True)
        closing.parents.append(parent_id)
    return Closing(closing.children, closing.parents, more=len(rows) == 100)


async def closed(connection: Connection, parents: Sequence[str]) -> None:
    """Take note that all children of these runs that are to end have been told. Primary key."""
    await connection.execute(_DONE, [Uuids(parents)], prepare=True, binary=True)
