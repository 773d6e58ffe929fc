"""Let a person queue a blocked or retrying run again."""

from __future__ import annotations

from aiki.core.errors import Conflict
from aiki.core.states import State
from aiki.wire.messages import Resume, ResumeReply
from aikid.engine.changes import Changes, Done
from aikid.engine.status import no_run
from aikid.store import control as store
from aikid.store.pool import Connection, Pool
from aikid.store.status import read


async def resume(pool: Pool, namespace: str, request: Resume) -> Done[ResumeReply]:
    """Queue the run, if it was not queued before.

    Raises NotFound, Conflict if its state forbids it, Unavailable.
    """

    async def work(connection: Connection) -> Done[ResumeReply]:
        route = await store.resume(connection, namespace, request.id, request.actor)
        found = await read(connection, [(namespace, request.id)])
        if (run := found.get((namespace, request.id))) is None:
            raise no_run(request.id, namespace)
        if route is None and run.state is not State.QUEUED:
            raise Conflict(f"run {run.id} is {run.state.value}: only a blocked or retrying run can be resumed")
        changes = Changes()
        if route is not None:
            changes.queued[namespace, *route] += 1
            changes.changed[namespace].append(run.id)
        return Done([ResumeReply(run)], changes)

    return await pool.run(work)
