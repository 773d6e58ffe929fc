"""Families that were never started: rows as a start leaves them, for tests of what reads them."""

from __future__ import annotations

import psycopg

from tests.integration.daemon.engine import new_id

_CHILD = "INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)"


async def adopt(database: str, parent: str, *run_ids: str) -> None:
    """Make runs the children of another, as if it had started them."""
    ids = list(run_ids)
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(
            "UPDATE aiki.runs SET parent_id = %s, depth = 1 + coalesce("
            " (SELECT p.depth FROM aiki.runs p WHERE p.id = %s), 0) WHERE id = ANY(%s::uuid[])",
            (parent, parent, ids),
        )
        await connection.execute("UPDATE aiki.listing SET is_child = true WHERE run_id = ANY(%s::uuid[])", (ids,))
        await connection.execute("UPDATE aiki.runs SET children = %s WHERE id = %s", (len(ids), parent))
        await connection.execute(
            f"{_CHILD} SELECT parent_id, id, id, 0, true, 'cancel', created_at FROM aiki.runs"
            " WHERE id = ANY(%s::uuid[])",
            (ids,),
        )


async def attach(database: str, parent: str, run_id: str, *, generation: int = 0) -> None:
    """Have a parent meet a run by its key, as if it had been to start it."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(
            f"{_CHILD} VALUES (%s, %s, %s, %s, false, 'cancel', clock_timestamp())",
            (parent, new_id(), run_id, generation),
        )
