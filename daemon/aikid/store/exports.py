"""Read runs as their next claims would find them. Nothing is locked and nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiki.core.states import Move, sources
from aiki.rules.claiming import RUN_BYTES
from aikid.store import prepared
from aikid.store.arrays import Uuids
from aikid.store.claims import ClaimedRow
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

_BEGAN: Final = "coalesce(CASE WHEN r.generation > 0 THEN r.began_at ELSE r.started_at END, aiki.now())"
"""When its generation began: with its next claim, if there was none yet."""
_PARKED: Final = quoted(sources(Move.DUE))
# The primary key, in the order asked; how long a payload is, is known without reading it.
_READ: Final = f"""
WITH asked AS MATERIALIZED (
  SELECT t.place, r.id, sum({RUN_BYTES} + octet_length(r.input) + coalesce(octet_length(r.output), 0)
    + coalesce(octet_length(r.error), 0)) OVER (ORDER BY t.place) AS bytes
  FROM unnest(%(ids)b) WITH ORDINALITY AS t(id, place)
  LEFT JOIN aiki.runs r ON r.id = t.id AND r.namespace = %(namespace)s
), fit AS MATERIALIZED (
  SELECT a.place, a.id FROM asked a
  WHERE a.bytes IS NULL OR a.bytes <= %(limit_bytes)s
    OR a.place = (SELECT min(f.place) FROM asked f WHERE f.id IS NOT NULL)
)
SELECT f.place, {MICROSECONDS.format("aiki.now()")}, r.id::text, r.epoch, r.origin_id::text, r.workflow, r.version,
  r.input, {MICROSECONDS.format(_BEGAN)}, r.key, r.labels::text,
  r.crash_count, r.generation, r.attempt, r.news_seq, r.parent_id::text, coalesce(r.depth, 0), r.priority, r.retry,
  r.fired, {MICROSECONDS.format("CASE WHEN r.generation > 0 THEN r.started_at END")},
  r.state, {MICROSECONDS.format("r.finished_at")}, r.output, r.error, r.why,
  {MICROSECONDS.format("r.created_at")}, r.imported,
  CASE WHEN r.state IN ({_PARKED}) THEN r.waits END,
  {MICROSECONDS.format(f"CASE WHEN r.state IN ({_PARKED}) THEN r.due_at END")}
FROM fit f LEFT JOIN aiki.runs r ON r.id = f.id ORDER BY f.place
"""


@dataclass(slots=True)
class ExportedRow(ClaimedRow):
    """A run as its next claim would find it, and what only its export tells."""

    state: str
    finished_at: int | None
    output: bytes | None
    error: bytes | None
    why: str | None
    created_at: int
    imported: bytes | None
    waits: list[str] | None
    due_at: int | None


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Have all statements of the block read of one moment: what a run has taken is in its journal or unread."""
    async with prepared.transaction(connection):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


async def clock(connection: Connection) -> int:
    """Return the database's clock in microseconds."""
    cursor = await connection.execute(f"SELECT {MICROSECONDS.format('aiki.now()')}".encode(), prepare=True, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def read(
    connection: Connection, namespace: str, run_ids: Sequence[str], *, limit_bytes: int
) -> tuple[int, int, list[ExportedRow]]:
    """Return the clock, how many of the ids were looked at, and those of them that are runs of the namespace.

    They are looked at from the first on, as many as `limit_bytes` hold of payloads; one run at least.
    """
    parameters = {"ids": Uuids(run_ids), "namespace": namespace, "limit_bytes": limit_bytes}
    cursor = await connection.execute(_READ, parameters, prepare=True, binary=True)
    rows = await cursor.fetchall()
    looked, now = rows[-1][:2]
    return now, looked, [ExportedRow(*row[2:]) for row in rows if row[2] is not None]
