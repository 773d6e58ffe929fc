"""Carry out what projects say of how long ended runs are kept, each apply in one commit, and tell what is in force."""

from __future__ import annotations

from typing import Final

from aiki.core.failpoints import failpoint
from aiki.rules.policies import plan
from aiki.wire.limits import LIST_ITEMS
from aiki.wire.messages import ApplyRetention, ReadRetention, RetentionApplied, RetentionReply
from aikid.engine.expiring import Terms
from aikid.store import policies, prepared
from aikid.store.pool import Connection, Pool

_CARRIED_OUT: Final = ("create", "update", "delete")


async def apply(pool: Pool, namespace: str, request: ApplyRetention) -> RetentionApplied:
    """Have a project's policies be just these, or say what that would do. Raises Unavailable."""
    wanted = {policy.workflow: policy.periods for policy in request.policies}

    async def work(connection: Connection) -> RetentionApplied:
        async with prepared.transaction(connection):
            known = await policies.lock(connection, namespace, list(wanted), request.project)
            changes = plan(known, request)
            is_done = not request.dry_run and all(change.action != "refused" for change in changes)
            if is_done:
                of = {action: [one.workflow for one in changes if one.action == action] for action in _CARRIED_OUT}
                made = {workflow: wanted[workflow] for workflow in of["create"]}
                await policies.create(connection, namespace, request.project, made)
                await policies.update(connection, namespace, {workflow: wanted[workflow] for workflow in of["update"]})
                await policies.delete(connection, namespace, of["delete"])
            failpoint("retention.before_commit")
            return RetentionApplied(changes, is_done)

    return await pool.run(work)


async def read(pool: Pool, namespace: str, request: ReadRetention, terms: Terms) -> RetentionReply:
    """Return a page of the policies in force, and what this daemon does with the rest. Raises Unavailable."""
    found = await pool.run(lambda c: policies.read(c, namespace, request.after, limit=LIST_ITEMS + 1))
    return RetentionReply(found[:LIST_ITEMS], terms.periods, terms.key_seconds, more=len(found) > LIST_ITEMS)
