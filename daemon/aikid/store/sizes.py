"""What the tables take up, and a sample of runs that says whose it is. Cold, and bounded however much there is."""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa

from aiki.core.states import TERMINAL
from aiki.wire.messages import TableSize
from aikid.store.pool import Pool
from aikid.store.schema import SCHEMA
from aikid.store.sql import MICROSECONDS, quoted

PAGES: Final = 500
"""Pages of `runs` that are read for a sample."""
LOOKED_INTO: Final = 300
"""Runs of the sample of which is read what they have in other tables."""
OF_RUNS: Final = ("journal", "run_history", "attempts", "inbox")
"""Tables of which a run may have many rows."""

# The catalogue alone: nothing of the tables is read.
_TABLES: Final = """
SELECT c.relname, greatest(c.reltuples, 0)::bigint,
  pg_table_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind = 'r' ORDER BY pg_total_relation_size(c.oid) DESC, c.relname
"""
_SAMPLED: Final = """
SELECT r.id, r.namespace, r.workflow, r.version, r.state, r.finished_at, pg_column_size(r.*) AS bytes
FROM aiki.runs r {sample}
"""
_ROWS: Final = " + ".join(
    f"coalesce((SELECT sum(pg_column_size(x.*) + 24) FROM aiki.{table} x WHERE x.run_id = s.id), 0)"
    for table in OF_RUNS
)
# A part of the pages of `runs`, and of a few hundred runs on these ranges of primary keys.
_SAMPLE: Final = f"""
WITH sampled AS MATERIALIZED ({_SAMPLED}), looked AS MATERIALIZED (
  SELECT s.namespace, s.workflow, s.bytes + {_ROWS} AS bytes
  FROM (SELECT * FROM sampled ORDER BY hashtext(id::text) LIMIT {LOOKED_INTO}) AS s
), means AS (
  SELECT l.namespace, l.workflow, avg(l.bytes) AS bytes FROM looked l GROUP BY 1, 2
)
SELECT s.namespace, s.workflow, s.version, s.state, count(*),
  coalesce(max(m.bytes), (SELECT avg(l.bytes) FROM looked l), 0)::bigint,
  array_agg({MICROSECONDS.format("aiki.now() - s.finished_at")}) FILTER (WHERE s.state IN ({quoted(sorted(TERMINAL))}))
FROM sampled s LEFT JOIN means m ON m.namespace = s.namespace AND m.workflow = s.workflow
GROUP BY s.namespace, s.workflow, s.version, s.state
"""
_EXTENT: Final = "SELECT pg_relation_size('aiki.runs') / current_setting('block_size')::int"


class Sampled(NamedTuple):
    """The runs of a sample that are of one route and state."""

    namespace: str
    workflow: str
    version: str
    state: str
    runs: int
    bytes: int
    """What one of them takes up in the tables, on average."""
    ages: list[int] | None
    """How long ago each has ended, in microseconds, if they have."""


async def tables(pool: Pool) -> list[TableSize]:
    """Return all tables, the largest first."""
    return [TableSize(*row) for row in await pool.read(sa.text(_TABLES).bindparams(schema=SCHEMA))]


async def sample(pool: Pool) -> tuple[list[Sampled], float]:
    """Return a sample of all runs, and which part of their pages it is of: 1 if they are few."""
    pages = int((await pool.read(sa.text(_EXTENT)))[0][0])
    part = min(1.0, PAGES / max(1, pages))
    drawn = "" if part == 1 else f"TABLESAMPLE SYSTEM ({100 * part:.6f})"
    return [Sampled(*row) for row in await pool.read(sa.text(_SAMPLE.format(sample=drawn)))], part
