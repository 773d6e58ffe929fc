"""Read who waits for keys of tasks, and tell them to ask again.

Nobody is told by the statement that ends a key, or frees it: that would grow with the number of those who wait, and a
claim's end knows of no keys. Who waits is in a table by key and in line, and is told by whoever has looked at the key.
What that has seen may be over by then: then whoever was told asks, and waits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import TERMINAL
from aiki.rules.arriving import KEY as WORD
from aiki.rules.sharing import ASKING, TOLD
from aikid.store import prepared
from aikid.store.arrays import Ints, Uuids
from aikid.store.inbox import REACHING, Reached, coming
from aikid.store.inbox import TOLD as ROWS
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted
from aikid.store.task_keys import KEY, STANDS, Found, KeyId, found, key_arrays, on_key

BATCH: Final = 100
"""Keys that are looked at in one commit."""
BEGINNING: Final = KeyId("", "", "", "")
"""Before all keys."""
_ASKING: Final = quoted(ASKING)


@dataclass(frozen=True, slots=True)
class Line:
    """A key that is waited for, and when one of those who do was told last that has not asked since."""

    key: KeyId
    found: Found
    told_at: int | None
    now: int


# The primary key of `task_key_waiters`, from one key to the next; each by primary keys, and by `task_key_waiters_told`
# from the right.
_NEXT: Final = """
(SELECT w.namespace, w.scope, w.task, w.key, {n} AS n FROM aiki.task_key_waiters w
  WHERE (w.namespace, w.scope, w.task, w.key) > ({after})
  ORDER BY w.namespace, w.scope, w.task, w.key LIMIT 1)
"""
_LINES: Final = f"""
WITH RECURSIVE line AS (
  {_NEXT.format(n="1", after="%s, %s, %s, %s")}
  UNION ALL
  SELECT next.* FROM line l CROSS JOIN LATERAL
    {_NEXT.format(n="l.n + 1", after="l.namespace, l.scope, l.task, l.key")} AS next
  WHERE l.n < {BATCH}
)
"""
_LOOK: Final = f"""
SELECT l.namespace, l.scope, l.task, l.key, {MICROSECONDS.format("aiki.now()")},
  {MICROSECONDS.format("(SELECT max(w.told_at) FROM aiki.task_key_waiters w WHERE told_at IS NOT NULL AND {})")},
  {STANDS}
FROM line l LEFT JOIN aiki.task_keys k ON {on_key("k", "l")} LEFT JOIN aiki.runs r ON r.id = k.run_id
ORDER BY l.namespace, l.scope, l.task, l.key
""".format(on_key("w", "l"))
_WALK: Final = _LINES + _LOOK
_NAMED: Final = f"WITH line AS MATERIALIZED (SELECT * FROM unnest(%b, %b, %b, %b) AS a({KEY}))" + _LOOK


async def walk(connection: Connection, after: KeyId) -> list[Line]:
    """Return the next keys that are waited for, BATCH at most, in their order. No locks."""
    return _lines(await (await connection.execute(_WALK, after, prepare=True, binary=True)).fetchall())


async def look(connection: Connection, keys: Sequence[KeyId]) -> list[Line]:
    """Return how these keys stand. No locks."""
    return _lines(await (await connection.execute(_NAMED, key_arrays(keys), prepare=True, binary=True)).fetchall())


def _lines(rows: Sequence[Sequence[object]]) -> list[Line]:
    return [Line(KeyId(*row[:4]), found(row[6:]), row[5], row[4]) for row in rows]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits for a key: `is_gone` if the run has ended, or is in another generation, and will not ask."""

    key: KeyId
    run_id: str
    generation: int
    call: str
    is_gone: bool


# `task_key_waiters_turn` from the left, past those that are held by a person: they ask by themselves when they go on.
_FIRST: Final = f"""
SELECT t.namespace, t.scope, t.task, t.key, f.run_id::text, f.generation, f.call, f.is_gone
FROM unnest(%b, %b, %b, %b, %b) AS t({KEY}, most) CROSS JOIN LATERAL (
  SELECT w.run_id, w.generation, w.call, r.state IS NULL OR r.state IN ({quoted(TERMINAL)})
    OR r.generation <> w.generation AS is_gone
  FROM aiki.task_key_waiters w LEFT JOIN aiki.runs r ON r.id = w.run_id
  WHERE {on_key("w", "t")} AND w.told_at IS NULL
    AND (r.state IS NULL OR r.generation <> w.generation OR r.state IN ({_ASKING}, {quoted(TERMINAL)}))
  ORDER BY w.at LIMIT t.most
) AS f LIMIT {TOLD}
"""


async def first(connection: Connection, keys: Sequence[tuple[KeyId, int]]) -> list[Waiter]:
    """Return the first in the lines of these keys that can be told, of each so many, and TOLD at most. No locks."""
    parameters = [*key_arrays([key for key, _ in keys]), Ints([most for _, most in keys])]
    rows = await prepared.rows(connection, _FIRST, parameters)
    return [Waiter(KeyId(*row[:4]), *row[4:]) for row in rows]


# Primary keys, in the order of ids. A run's place in line changes under its lock, so the statement behind this sees it.
_LOCK: Final = "SELECT r.id FROM aiki.runs r WHERE r.id = ANY(%b) ORDER BY r.id FOR NO KEY UPDATE"
# Primary keys. Whoever was told by another daemon meanwhile, or has asked and so left the line, is not told. Runs of
# those who are gone are not locked: what has ended stays so, as does a generation that was left; whoever else takes
# them out of line is not waited for.
_TELL: Final = f"""
WITH waiter AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b) WITH ORDINALITY AS t({KEY}, run_id, generation, is_gone, n)
), marked AS (
  UPDATE aiki.task_key_waiters w SET told_at = aiki.now()
  FROM waiter t JOIN aiki.runs r ON r.id = t.run_id
  WHERE {on_key("w", "t")} AND w.run_id = t.run_id AND w.generation = t.generation AND w.told_at IS NULL
    AND t.is_gone = 0 AND r.generation = t.generation AND r.state IN ({_ASKING})
  RETURNING t.n, w.run_id, w.call
), dead AS MATERIALIZED (
  SELECT w.ctid AS place FROM aiki.task_key_waiters w JOIN waiter t
    ON {on_key("w", "t")} AND w.run_id = t.run_id AND w.generation = t.generation
  WHERE t.is_gone = 1 FOR UPDATE OF w SKIP LOCKED
), over AS (
  DELETE FROM aiki.task_key_waiters w WHERE w.ctid = ANY(ARRAY(SELECT d.place FROM dead d))
), locked AS MATERIALIZED (
  SELECT r.id, r.state, r.origin_id, r.news_seq, r.news_at, r.waits, r.wake_news FROM aiki.runs r
  WHERE r.id IN (SELECT m.run_id FROM marked m) ORDER BY r.id FOR NO KEY UPDATE
), {{coming}}, {REACHING}
SELECT NULL, NULL::bigint, NULL, NULL, NULL, NULL WHERE false {ROWS.format("")}
""".format(
    coming=coming(f"""
  SELECT l.id, m.n, 1, '{WORD}', m.call, NULL::uuid, NULL, NULL, 'null'::bytea, l.origin_id, '{WORD}'
  FROM marked m FULL JOIN locked l ON l.id = m.run_id WHERE coalesce(m.n, 0) > 0 AND coalesce(l.state, '') <> ''""")
)


async def tell(connection: Connection, waiters: Sequence[Waiter]) -> Reached:
    """Tell these to ask again, and take those out of line that are gone; return whom that reached. In a transaction."""
    living = [waiter.run_id for waiter in waiters if not waiter.is_gone]
    await prepared.rows(connection, _LOCK, [Uuids(living)])
    parameters = [
        *key_arrays([waiter.key for waiter in waiters]),
        Uuids([waiter.run_id for waiter in waiters]),
        Ints([waiter.generation for waiter in waiters]),
        Ints([waiter.is_gone for waiter in waiters]),
    ]
    reached = Reached()
    for row in await prepared.rows(connection, _TELL, parameters):
        reached.add(row)
    return reached
