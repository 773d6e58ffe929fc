"""Own what a live run waits for: its tries, a commit, a date, an arrival, or the daemon's word. It changes nothing.

What becomes of the run then is for `resting`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiki.core.moments import SECOND
from aiki.core.states import Move
from aiki.execution.resting import Moving, Wake, lingers_until

if TYPE_CHECKING:
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.body import Body
    from aiki.execution.bounds import Limits
    from aiki.execution.sharing import Sharing
    from aiki.execution.tasks.attempts import Attempts


def awaits_tries_alone(body: Body | None, attempts: Attempts) -> bool:
    """Tell whether the run only waits for a try that runs, or for the commit before it: the life of most runs."""
    if attempts.has_retries or attempts.uncertain or not (attempts.running or attempts.waiting):
        return False
    return body is not None and body.has_tries_alone


def awaits_word(body: Body | None, arrivals: Arrivals, sharing: Sharing) -> bool:
    """Tell whether the daemon has yet to say what comes next.

    That is whether a timer fires, who has a key, what has come, what is durable.
    """
    if body is None:
        return False
    return (
        sharing.is_asking
        or arrivals.is_partial
        or body.awaits_commit
        or (body.is_waiting and (body.is_asking or arrivals.behind))
    )


def what_moves(attempts: Attempts, sharing: Sharing, *, more: bool, holds_back: bool) -> Moving:
    """Return what moves without anything from outside.

    With `more` the body wants a turn again; with `holds_back` it has something to send, and may not.
    """
    if more:
        return Moving.BODY_AND_TRIES if attempts.running else Moving.BODY
    if attempts.running:
        return Moving.TRIES
    return Moving.READY if attempts.waiting or holds_back or sharing.is_ready else Moving.NOTHING


def next_wake(body: Body | None, attempts: Attempts, sharing: Sharing, resting_since: Callable[[], int]) -> Wake | None:
    """Return when the run can move next by itself; None if there is nothing that it waits for."""
    if body is not None and body.is_cancelled and (over_at := attempts.grace_over_at()) is not None:
        return Wake(over_at, Move.SLEEP)
    timer = None if body is None else body.next_due()
    retry = attempts.next_retry_at() if attempts.has_retries else None
    is_timer = timer is not None and (retry is None or timer <= retry)
    at = timer if is_timer else retry
    if (body is not None and body.is_waiting) or sharing.is_waiting:
        return Wake(at, Move.WAIT, resting_since())
    return None if at is None else Wake(at, Move.SLEEP if is_timer else Move.RETRY)


def alarm_at(wake: Wake | None, attempts: Attempts, now: int, limits: Limits) -> int | None:
    """Return when to look at the run again: at its wake, or when the lease may be certain again."""
    at = None if wake is None else lingers_until(wake, limits)
    if not (attempts.uncertain and attempts.waiting):
        return at
    poll = now + round(limits.lease_poll_seconds * SECOND)
    return poll if at is None else min(at, poll)
