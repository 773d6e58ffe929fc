"""Give runs to another version of their workflow: many in one commit, and of each what has become of it."""

from __future__ import annotations

from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.states import State
from aiki.rules import rerouting
from aiki.rules.standing import Standing
from aiki.wire.messages import Moved, MoveReply, MoveRuns
from aikid.engine.changes import Changes, Done
from aikid.engine.routes import Routes
from aikid.store import rerouting as store
from aikid.store.pool import Pool

_UNKNOWN: Final = Moved("unknown")


async def move(pool: Pool, routes: Routes, namespace: str, request: MoveRuns) -> Done[MoveReply]:
    """Have the runs be of a version, and have its workers be told of those that are queued. Raises Unavailable."""
    failpoint("move.before_commit")
    claims: dict[str, int | None] = dict.fromkeys(request.ids) | dict(zip(request.ids, request.claims, strict=False))
    found = await pool.run(
        lambda c: store.move(
            c,
            namespace,
            claims,
            request.version,
            keep_blocked=request.keep_blocked,
            force=request.force,
            actor=request.actor,
        )
    )
    changes, outcomes = Changes(), {}
    for run_id, run in found.items():
        result = rerouting.judge(
            Standing(run.before, epoch=run.epoch),
            is_there=run.is_there,
            is_imported=run.is_imported,
            is_registered=run.is_registered,
            claims=claims[run_id],
        )
        outcomes[run_id] = Moved(result, run.state or run.before)
        if run.state is not None:
            changes.changed[namespace].append(run_id)
        if run.state is State.QUEUED:
            changes.queued[namespace, run.workflow, request.version] += 1
    if request.force:
        await routes.learn({(namespace, run.workflow, request.version) for run in found.values() if run.state})
    return Done([MoveReply([outcomes.get(run_id, _UNKNOWN) for run_id in request.ids])], changes)
