"""Own the deletion of runs: each with its retries and what these have started, all or none."""

from __future__ import annotations

from typing import Final

from aiki.rules.retaining import Holder, Why, holds, stays
from aiki.testing.memory.run import Link, Run
from aiki.testing.memory.store import Store
from aiki.wire.messages import Delete, DeletedRun, DeleteReply

_RESULTS: Final = {Why.LIVE: "live", Why.BUSY: "busy", Why.HELD: "held", Why.UNKNOWN: "busy"}


def delete(store: Store, request: Delete) -> DeleteReply:
    """Delete runs that have ended, or say what would be; an idempotency key goes with its run."""
    return DeleteReply([_one(store, run_id, is_preview=request.preview) for run_id in request.ids])


def _one(store: Store, run_id: str, *, is_preview: bool) -> DeletedRun:
    if (run := store.runs.get(run_id)) is None:
        return DeletedRun("unknown")
    members = _family(store, run)
    if (live := next((one for one in members.values() if not one.is_over), None)) is not None:
        return DeletedRun("live", other=live.id, state=live.state)
    for one in members.values():
        holder = next((found.id for found in _holders(store, one) if found.id not in members), None)
        if why := stays(one.state, is_busy=one.closing > 0, is_held=holder is not None):
            return DeletedRun(_RESULTS[why], other=holder)  # type: ignore[arg-type]
    if not is_preview:
        store.forget(members.values())
    return DeletedRun("done", len(members))


def _family(store: Store, run: Run) -> dict[str, Run]:
    """Return the run, its retries, the children that these own, and so on, by their ids."""
    members: dict[str, Run] = {}
    origins = {run.origin_id}
    while origins:
        found = [one for one in store.runs.values() if one.origin_id in origins]
        members.update({one.id: one for one in found})
        origins = {link.child.origin_id for one in found for link in one.children.values() if link.owned}
        origins -= {one.origin_id for one in members.values()}
    return members


def _holders(store: Store, run: Run) -> list[Run]:
    """Return the runs for whose sake it has to stay: its parent's newest retry, and who has attached to it."""
    links = [link for one in store.runs.values() for link in one.children.values() if link.child is run]
    return [link.parent.newest for link in links if holds(_holder(link))]


def _holder(link: Link) -> Holder:
    newest = link.parent.newest if link.owned else link.parent
    return Holder(newest.state, newest.generation, link.generation, newest.retried_by is not None)
