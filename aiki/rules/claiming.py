"""Own who is claimed first, and that a suspect run comes alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from aiki.core.states import Move, apply
from aiki.rules.crashing import is_suspect
from aiki.rules.standing import Standing

RUN_BYTES: Final = 1024
"""What a run counts in a claim's reply beside its input; the exact size is looked at in the end."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A queued run as a claim looks at it; `bytes` is the size of its input."""

    id: str
    has_started: bool
    priority: int
    created_at: int
    crash_count: int
    bytes: int


def order(run: Queued) -> tuple[int, bool, int]:
    """Return by what queued runs are sorted: priority, within one started ones first, then the time of enqueue."""
    return -run.priority, not run.has_started, run.created_at


def pick(queued: Iterable[Queued], *, limit: int, limit_bytes: int, holds_suspect: bool) -> tuple[list[Queued], bool]:
    """Return which runs of its routes a session is given, in order, and whether it leaves others for it.

    These are at most `limit`, whose inputs fit; one always fits. A session has at most one suspect run at a time:
    `holds_suspect` says that it has one already.
    """
    ordered = sorted(queued, key=order)
    suspects = [] if holds_suspect else [run for run in ordered if is_suspect(run.crash_count)][:1]
    able = [*suspects, *(run for run in ordered if not is_suspect(run.crash_count))]
    picked: list[Queued] = []
    total = 0
    for run in able[:limit]:
        total += run.bytes + RUN_BYTES
        if picked and total > limit_bytes:
            break
        picked.append(run)
    return picked, len(able) > len(picked)


def claimed(standing: Standing, claim_id: str) -> Standing:
    """Return how a run stands that was claimed. Raises IllegalTransition."""
    return replace(
        standing,
        state=apply(standing.state, Move.CLAIM),
        epoch=standing.epoch + 1,
        claim_id=claim_id,
        due_at=None,
        outcome=None,
    )
