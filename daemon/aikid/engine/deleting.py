"""Delete runs at a person's word, each with its family in one commit: all of it goes, or nothing."""

from __future__ import annotations

import asyncio
import logging
from itertools import groupby
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.states import TERMINAL
from aiki.rules.retaining import Why
from aiki.wire.limits import FAMILY_RUNS
from aiki.wire.messages import Delete, DeletedRun, DeleteReply
from aikid.engine.changes import Done
from aikid.store import deleting, prepared
from aikid.store.kinfolk import Kin, family
from aikid.store.pool import Connection, Pool

log = logging.getLogger("aikid")
_RESULTS: Final = {Why.LIVE: "live", Why.BUSY: "busy", Why.HELD: "held", Why.UNKNOWN: "busy"}
"""A row that was just read, and that is not there when it is to be locked, is another's."""
_SECONDS: Final = 2.0
"""So long the deletion of a family may take before its last statements: the pool cuts off what takes much longer, and
with it the connections of all others."""


class _Stays(Exception):
    """What was deleted of a family is undone: one of it has to stay."""

    def __init__(self, why: Why, holder: str | None) -> None:
        super().__init__(why)
        self.why = why
        self.holder = holder


async def delete(pool: Pool, namespace: str, request: Delete, *, key_seconds: int) -> Done[DeleteReply]:
    """Delete the runs, or say what would be. Their keys are held for `key_seconds`, unless they are to be forgotten.

    Raises Unavailable.
    """
    seconds = 0 if request.forget_keys else key_seconds

    async def one(connection: Connection, run_id: str) -> DeletedRun:
        return await _one(connection, namespace, run_id, seconds, preview=request.preview)

    outcomes = [await pool.run(lambda c, run_id=run_id: one(c, run_id)) for run_id in request.ids]  # type: ignore[misc]
    gone = sum(outcome.runs for outcome in outcomes if outcome.result == "done")
    if gone and not request.preview:
        log.info("%s deleted %d runs of namespace %r", request.actor or "somebody", gone, namespace)
    return Done([DeleteReply(outcomes)])


async def _one(connection: Connection, namespace: str, run_id: str, key_seconds: int, *, preview: bool) -> DeletedRun:
    members: list[Kin] = []
    try:
        async with prepared.transaction(connection):
            members = await family(connection, namespace, run_id, most=FAMILY_RUNS + 1)
            if not members:
                return DeletedRun("unknown")
            if len(members) > FAMILY_RUNS:
                return DeletedRun("large", len(members))
            if (live := next((kin for kin in members if kin.state not in TERMINAL), None)) is not None:
                return DeletedRun("live", other=live.id, state=live.state)
            await _delete(connection, members, key_seconds)
            if preview:
                raise _Previewed(len(members))
            failpoint("delete.before_commit")
            return DeletedRun("done", len(members))
    except _TakesLong:
        return DeletedRun("large", len(members))
    except _Stays as stays:
        return DeletedRun(_RESULTS[stays.why], other=stays.holder)  # type: ignore[arg-type]
    except _Previewed as previewed:
        return DeletedRun("done", previewed.runs)


class _Previewed(Exception):
    """All of a family would go: it was, and that is undone."""

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self.runs = runs


class _TakesLong(Exception):
    """There is more to delete of a family than one commit may."""


async def _delete(connection: Connection, members: list[Kin], key_seconds: int) -> None:
    """Delete a family, parents first. Raises _Stays for the first that may not go, _TakesLong."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SECONDS
    gone: set[str] = set()
    for _, level in groupby(members, key=lambda kin: kin.depth):
        ids = [kin.id for kin in level]
        for start in range(0, len(ids), deleting.BATCH):
            # A run that went with another of its origin is not asked for again.
            named = [run_id for run_id in ids[start : start + deleting.BATCH] if run_id not in gone]
            if not named:
                continue
            if gone and loop.time() > until:
                raise _TakesLong
            deleted = await deleting.delete_runs(connection, named, key_seconds=key_seconds)
            gone.update(deleted.gone)
            for run_id, why in deleted.kept.items():
                raise _Stays(why, deleted.holders.get(run_id))
