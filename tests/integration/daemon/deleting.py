"""Own what tests of deletions do over and over: runs with everything that can be stored of one, and what is left."""

from __future__ import annotations

from typing import Any

from aikid.store import deleting, prepared
from aikid.store.deleting import Deleted
from tests.integration.daemon.engine import Engine

KEY_SECONDS = 3_600
_STAYING = {
    *(("children", "run_id"), ("children", "start_id"), ("runs", "parent_id")),
    *(("keys", "run_id"), ("slots", "run_id")),
}
"""Where the id of a run stays that is gone: with its parent, its children, its key and its slot."""
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'aiki' AND data_type = 'uuid' ORDER BY 1, 2
"""


async def delete(engine: Engine, *run_ids: str, key_seconds: int = KEY_SECONDS) -> Deleted:
    """Delete runs in a commit of their own."""

    async def work(connection: Any) -> Deleted:
        async with prepared.transaction(connection):
            return await deleting.delete_runs(connection, run_ids, key_seconds=key_seconds)

    return await engine.pool.run(work)


async def traces(engine: Engine, run_id: str) -> set[str]:
    """Return the tables that hold anything of a run, whichever there are."""
    columns = [tuple(row) for row in await engine.execute(_COLUMNS)]
    assert ("runs", "id") in columns
    found = set()
    for table, column in columns:
        if (table, column) not in _STAYING:
            ((count,),) = await engine.execute(f"SELECT count(*) FROM aiki.{table} WHERE {column} = %s", run_id)
            if count:
                found.add(table)
    return found
