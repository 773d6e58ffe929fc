"""Own the claims that a daemon makes for workers: new runs, and those that were woken, go to who has leave for them.

A new run is born under its claim. Any other is claimed as by its worker, of the best queued runs of the route: nobody
is overtaken. That is a commit of its own, after the one which woke them, so that losing it costs time alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Raw

from aiki.wire.codec import encode
from aiki.wire.messages import NONE, Claim, Claimed, ClaimReply, Fence
from aikid.engine import claims
from aikid.engine.changes import Changes, Handed
from aikid.engine.leaves import Given, Leaves
from aikid.engine.routes import RouteKey
from aikid.store.births import Birth
from aikid.store.enqueue import Row
from aikid.store.pool import Pool

_HEAD_BYTES: Final = 1024
"""What a hand-over says beside its runs, at most."""


def handed(
    given: Given, rows: Sequence[Row], now: int, running: Mapping[str, int], births: Sequence[Birth] = ()
) -> Handed:
    """Return what a worker is told of runs that were born under its claim, since when `running` says."""
    claimed = []
    for place in given.places:
        run, birth = rows[place][1], births[place] if births else None
        claimed.append(
            Claimed(
                fence=Fence(run.id, 1, given.claim_id),
                origin_id=run.id,
                workflow=run.workflow,
                version=run.version,
                input=run.input,
                claims=1,
                started_at=running[run.id],
                key=run.options.key,
                labels=run.options.labels,
                parent=birth.parent_id if birth is not None else None,
                depth=birth.depth if birth is not None else 0,
                priority=run.options.priority or 0,
                retry=NONE if run.options.retry is None else Raw(encode(run.options.retry)),
                fired=run.options.fired,
            )
        )
    return Handed(given.line, given.first, now, claimed)


async def hand_over(pool: Pool, leaves: Leaves, woken: Mapping[RouteKey, int], *, room: int) -> Changes:
    """Claim queued runs of routes, as many as were woken and workers have leave for; return what that changed.

    Raises Unavailable. Not repeated if the outcome is unknown: the worker's next renewal finds the claim.
    """
    changes = Changes()
    for (namespace, workflow, version), count in woken.items():
        loan = leaves.lend((namespace, workflow, version), count)
        if loan is None:
            continue
        reply = ClaimReply(0)
        try:
            request = Claim(loan.line.session, uuid.uuid4().hex, [(workflow, version)], loan.runs)
            reply, blocked = await _fitting(pool, namespace, request, room - _HEAD_BYTES)
        finally:
            first = leaves.settle(loan, len(reply.runs))
        changes.settled[namespace] += blocked
        if not reply.alive:
            leaves.forget(loan.line)
        if reply.runs:
            changes.handed.append(Handed(loan.line, first, reply.now, reply.runs))
            changes.queued[namespace, workflow, version] -= len(reply.runs)
            changes.changed[namespace] += [run.fence.run_id for run in reply.runs]
    return changes


async def _fitting(pool: Pool, namespace: str, request: Claim, room: int) -> tuple[ClaimReply, list[str]]:
    """Claim, and return what fits, with the runs that fit no message and are blocked."""
    reply = await claims.claim(pool, namespace, request, room=room)
    if len(encode(reply)) <= room:
        return reply, []
    return await claims.lighten(pool, namespace, reply, room=room)
