"""Have runs go on that have failed or were cancelled, each with its family in one commit; one retry a run.

What is planned (`successions`) was read without a lock. Its rows are locked as one set, and all is undone and done
again if one of them is no longer as it was read: of two retries at once the later finds the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from aiki.core.errors import AikiError, UsageError
from aiki.core.failpoints import failpoint
from aiki.core.states import State
from aiki.rules.checking import check_payload
from aiki.wire.codec import decoder
from aiki.wire.messages import Fired, Redone, Retry, RetryReply
from aikid.engine import imports
from aikid.engine.changes import Changes, Done
from aikid.engine.successions import Parent, Plan
from aikid.store import pasts, prepared, retries, slots
from aikid.store.pool import Connection, Pool


async def retry(pool: Pool, namespace: str, request: Retry, *, room: int) -> Done[RetryReply | AikiError]:
    """Retry the runs, each in a commit of its own, and say of each what has come of it. Raises Unavailable."""
    try:
        order = _checked(request, room)
    except UsageError as error:
        return Done([error])
    changes, outcomes = Changes(), []
    for run_id in request.ids:
        made = await pool.run(lambda c, run_id=run_id: _alone(c, namespace, run_id, order))  # type: ignore[misc]
        made.note(changes, namespace)
        outcomes.append(made.outcome)
    copies = await imports.among(pool, namespace, [one.run_id for one in outcomes if one.result == "unknown"])
    outcomes = [Redone("imported", one.run_id) if one.run_id in copies else one for one in outcomes]
    return Done([RetryReply(outcomes)], changes)


@dataclass(slots=True)
class Made:
    """What a retry has come to."""

    outcome: Redone
    routes: list[tuple[str, str]] = field(default_factory=list)
    """Those of the new runs."""
    due_seconds: float | None = None
    errands: int = 0
    now: int = 0
    """The database's clock then."""

    def note(self, changes: Changes, namespace: str) -> None:
        """Take note of it, once it is committed."""
        for workflow, version in self.routes:
            changes.queued[namespace, workflow, version] += 1
            changes.enqueued[(namespace, workflow, version), self.now] += 1
        changes.due_in(self.due_seconds)
        changes.errands += self.errands


async def renew(connection: Connection, namespace: str, run_id: str, order: Retry) -> Made:
    """Retry a run in the transaction that this stands in."""
    row = (await pasts.rows(connection, [run_id])).get(run_id)
    if row is None or row.namespace != namespace:
        return Made(Redone("unknown", run_id))
    if order.workflow not in (None, row.workflow):
        return Made(Redone("other", run_id, row.state, [row.workflow]))
    if row.retried_by is not None:
        new, state = (await pasts.newest(connection, [run_id]))[run_id]
        return Made(Redone("found", new, state))
    plan = Plan(order)
    if refused := await plan.make(connection, {run_id: row}, {run_id: None}):
        return Made(refused)
    return await _carry_out(connection, plan)


async def renew_all(connection: Connection, of: Mapping[str, str], order: Retry, changes: Changes) -> dict[str, Redone]:
    """Retry runs, given with their namespaces, in the transaction that this stands in; say of each what has come of it.

    Those that bring no others along are retried together: who enqueues a file anew may have failed runs by hundreds.
    """
    plan = Plan(order)
    rows = [row for row in (await pasts.rows(connection, list(of))).values() if of[row.id] == row.namespace]
    await plan.gather(connection, [row for row in rows if row.retried_by is None])
    if plan.renewals:
        made = await _carry_out(connection, plan)
        for row in plan.rows:
            changes.queued[row.namespace, row.workflow, row.version] += 1
            changes.enqueued[(row.namespace, row.workflow, row.version), made.now] += 1
        changes.due_in(made.due_seconds)
        changes.errands += made.errands
    found = {run_id: Redone("retried", new, State.QUEUED) for run_id, new in plan.news.items()}
    for run_id in of.keys() - found.keys():
        one = await renew(connection, of[run_id], run_id, order)
        one.note(changes, of[run_id])
        found[run_id] = one.outcome
    return found


async def renew_below(connection: Connection, parent: Parent, run_ids: Sequence[str]) -> tuple[Made, dict[str, str]]:
    """Retry children of a run that goes on itself, in its transaction; return by which runs these go on, too."""
    plan = Plan(Retry([]))
    rows = await pasts.rows(connection, run_ids)
    if refused := await plan.make(connection, rows, dict.fromkeys(rows, parent)):
        return Made(refused), {}
    return await _carry_out(connection, plan), plan.news


async def _carry_out(connection: Connection, plan: Plan) -> Made:
    await pasts.lock(connection, plan.locks)
    due_seconds, errands, now = await retries.write(connection, plan.renewals, actor=plan.order.actor)
    fired = [(row.namespace, row.origin_id, decoder(Fired).decode(row.fired)) for row in plan.rows if row.fired]
    if fired:
        await slots.reopen(connection, fired)
    routes = [(one.workflow, one.version) for one in plan.rows]
    return Made(Redone("retried", plan.renewals[0].new, State.QUEUED), routes, due_seconds, errands, now)


async def _alone(connection: Connection, namespace: str, run_id: str, order: Retry) -> Made:
    async with prepared.transaction(connection):
        made = await renew(connection, namespace, run_id, order)
        failpoint("retry.before_commit")
        return made


def _checked(request: Retry, room: int) -> Retry:
    """Return what is ordered. Another input leaves nothing to go on from. Raises UsageError for one that is none."""
    if not request.input:
        return request
    check_payload(bytes(request.input), what="the input", room=room)
    return replace(request, start=True)
