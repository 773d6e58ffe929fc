"""Own what a lost lease does to a run: queue it, let it wait or block it, and when it is due. Pure.

Only a loss without progress counts: the journal is as long as when a lease was lost before. A session that was closed
before its lease ran out was closed by its worker, which is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from aiki.core.states import Move, apply
from aiki.rules.standing import Standing, rested

SUSPECT: Final = 2
"""Losses from which on a run waits before it is tried again, and is claimed alone."""
MOST: Final = 5
"""Losses at which it is blocked."""
BACK_OFF_BASE: Final = 2
"""Seconds to wait are this to the power of the losses before the last."""
BACK_OFF_WHY: Final = "its worker lost its lease {} times without progress"
CRASH_LOOP_WHY: Final = (
    "crash_loop: its worker lost its lease {} times without progress: it died, or a task of the run held Python's"
    ' interpreter lock for longer than the lease; @task(executor="process") keeps such a task from its worker'
)


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of a run that has no worker any more, and why, in words, if it does not just go on."""

    move: Move
    why: str | None = None


def lose(standing: Standing, *, is_left: bool, now: int) -> tuple[Loss, Standing]:
    """Return what becomes of a running run whose session is over, and how it stands then.

    `is_left` says that its worker closed the session. Raises IllegalTransition for a run that does not run.
    """
    if is_left:
        state = apply(standing.state, Move.RELEASE)
        return Loss(Move.RELEASE), rested(replace(standing, state=state, claim_id=None, due_at=None, outcome=None))
    count = 1 if standing.length > standing.crash_length else standing.crash_count + 1
    loss = _loss(count)
    due_at = now + round(back_off_seconds(count) * 1e6) if loss.move is Move.BACK_OFF else None
    return loss, rested(
        replace(
            standing,
            state=apply(standing.state, loss.move),
            claim_id=None,
            crash_count=count,
            crash_length=standing.length,
            due_at=due_at,
            outcome=None,
        )
    )


def back_off_seconds(count: int) -> float:
    """Return how long a run waits after so many losses in a row."""
    return float(BACK_OFF_BASE ** (count - 1))


def is_suspect(crash_count: int) -> bool:
    """Tell whether a run has cost so many leases that it is claimed alone."""
    return crash_count >= SUSPECT


def _loss(count: int) -> Loss:
    if count >= MOST:
        return Loss(Move.CRASH_LOOP, CRASH_LOOP_WHY.format(count))
    if count >= SUSPECT:
        return Loss(Move.BACK_OFF, BACK_OFF_WHY.format(count))
    return Loss(Move.RESCUE)
