"""Read runs by id for many callers at once."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.core.errors import UsageError
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import RunStatus
from aikid.engine.checks import is_uuid
from aikid.store import status as store
from aikid.store.pool import Pool, Priority

RunKey = tuple[str, str]


def check_ids(ids: Sequence[str]) -> None:
    """Raise UsageError if the ids are too many or one is no UUID."""
    if len(ids) > BATCH_RUNS:
        raise UsageError(f"one request reads at most {BATCH_RUNS} runs, not {len(ids)}")
    for run_id in ids:
        if not is_uuid(run_id):
            raise UsageError(f"run id {run_id[:64]!r} is not a UUID in its canonical form")


async def statuses(pool: Pool, wanted: Sequence[RunKey]) -> dict[RunKey, RunStatus]:
    """Return those of `wanted` that exist. Raises Unavailable."""
    unique = list(dict.fromkeys(wanted))
    if not unique:
        return {}
    return await pool.run(lambda c: store.read(c, unique), priority=Priority.READ)
