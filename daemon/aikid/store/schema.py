"""Own what all tables of schema `aiki` share: their metadata, the functions they need, and the kinds of columns."""

from typing import Final

import sqlalchemy as sa

SCHEMA: Final = "aiki"

metadata = sa.MetaData(schema=SCHEMA)

# Whatever asks for the time asks these, which Postgres puts into the statement itself, and tests put theirs in their
# place: the transaction's time, and the clock's for who has waited for a lock. `again` undoes a statement that has seen
# that what it read is older than its locks: whoever sent it repeats it whole.
FUNCTIONS: Final = {
    "now": "CREATE FUNCTION aiki.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE RETURN pg_catalog.now()",
    "clock": """
    CREATE FUNCTION aiki.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
      RETURN pg_catalog.clock_timestamp()
    """,
    "again": """
    CREATE FUNCTION aiki.again() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
      RAISE EXCEPTION 'what this statement read is older than its locks' USING ERRCODE = 'serialization_failure';
    END $$
    """,
}
for _function in FUNCTIONS.values():
    sa.event.listen(metadata, "before_create", sa.DDL(_function))  # type: ignore[no-untyped-call]

Time: Final = sa.DateTime(timezone=True)
NOW: Final = sa.text("aiki.now()")
ZERO: Final = sa.text("0")
# A run's rows go together when its retention is over. With the default, a fifth of a table would have to be dead before
# its room is used again: of a table for a year of runs, that of ten weeks.
DELETED_FROM: Final = {"autovacuum_vacuum_scale_factor": "0.02"}
"""Storage parameters of tables that ended runs are deleted from."""
