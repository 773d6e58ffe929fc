"""Own which schedules are due to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aikid.store import prepared
from aikid.store.arrays import Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.schedules import COLUMNS

# `schedules_due` from the left; SKIP LOCKED: several daemons share the rows and none waits. Inputs are read as far as
# there is room for them, which their lengths say.
_DUE: Final = f"""
WITH due AS MATERIALIZED (
  SELECT s.* FROM aiki.schedules s WHERE s.due_at <= aiki.now() AND {{which}}
  ORDER BY s.due_at LIMIT (%b)[1] FOR NO KEY UPDATE SKIP LOCKED
), weighed AS MATERIALIZED (
  SELECT d.*, sum(octet_length(d.input)) OVER (ORDER BY d.due_at, d.id) AS total,
    row_number() OVER (ORDER BY d.due_at, d.id) AS place FROM due d
)
SELECT {COLUMNS} FROM weighed s WHERE s.total <= (%b)[1] OR s.place = 1 ORDER BY s.place
"""
_ALL: Final = _DUE.format(which="true")
_THESE: Final = _DUE.format(which="s.id = ANY(%b)")
# The first row of `schedules_due`.
_NEXT: Final = """
SELECT extract(epoch FROM min(s.due_at) - aiki.now())::float8 FROM aiki.schedules s WHERE s.due_at IS NOT NULL
"""
# Primary keys. Rows that another holds are being decided.
_PUT_OFF: Final = """
WITH here AS MATERIALIZED (SELECT s.id FROM aiki.schedules s WHERE s.id = ANY(%b) FOR NO KEY UPDATE SKIP LOCKED)
UPDATE aiki.schedules s SET due_at = aiki.now() + (%b)[1] * interval '1 microsecond' FROM here
WHERE s.id = here.id AND s.due_at <= aiki.now()
"""
# Once in the life of a daemon. Rows that another holds are being decided.
_RENEW: Final = """
WITH old AS MATERIALIZED (
  SELECT s.id FROM aiki.schedules s
  WHERE s.due_at > aiki.now() AND split_part(s.zones, ' ', 1) <> (%b)[1]
  LIMIT (%b)[1] FOR NO KEY UPDATE SKIP LOCKED
), due AS (
  UPDATE aiki.schedules s SET due_at = aiki.now() FROM old WHERE s.id = old.id RETURNING s.id
)
SELECT count(*) FROM due
"""
# `slots_open`, and of their schedules the primary key. What waits is looked at within a second: by a clock that has not
# been set back since. Rows that another holds are being decided.
_HURRY: Final = """
WITH late AS MATERIALIZED (
  SELECT s.id FROM aiki.schedules s
  WHERE s.id IN (SELECT w.schedule_id FROM aiki.slots w WHERE w.result = 'queued')
    AND s.due_at > aiki.now() + %s * interval '1 microsecond'
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE aiki.schedules s SET due_at = aiki.now() FROM late WHERE s.id = late.id
"""


async def lock(
    connection: Connection, *, limit: int, limit_bytes: int, ids: Sequence[str] | None = None
) -> Sequence[Sequence[Any]]:
    """Lock due schedules that nobody else holds; return their rows, as many as have `limit_bytes` of inputs together.

    One always comes. With `ids` only those of these.
    """
    most = [Ints([limit]), Ints([limit_bytes])]
    given = [] if ids is None else [Uuids(ids)]
    return await prepared.rows(connection, _ALL if ids is None else _THESE, [*given, *most])


async def put_off(connection: Connection, ids: Sequence[str], *, by: int) -> None:
    """Have due schedules be looked at later."""
    await prepared.rows(connection, _PUT_OFF, [Uuids(ids), Ints([by])])


async def seconds_to_next(connection: Connection) -> float | None:
    """Return how long until the next schedule is to be looked at, None if there is none."""
    ((seconds,),) = await prepared.rows(connection, _NEXT, [])
    return None if seconds is None else float(seconds)


async def renew(connection: Connection, zones: str, *, limit: int) -> int:
    """Have schedules be looked at that were decided by other zone data; return how many, `limit` at most."""
    ((count,),) = await prepared.rows(connection, _RENEW, [Texts([zones]), Ints([limit])])
    return int(count)


async def hurry(connection: Connection, *, within: int) -> None:
    """Have schedules be looked at whose slots wait for a run, if they are to be looked at only later than `within`."""
    await connection.execute(_HURRY, [within], prepare=True)
