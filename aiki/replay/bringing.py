"""Own how a recorded run is brought to where its record ends: by the body that a worker would run, without effect.

There is one way to replay a body, that of `aiki.execution`. Here nothing is let go, nothing is recorded, no timer goes
off by a clock, and of what has come only that is given to the body which its entries have taken.

A run that has ended has passed all its patches: what it has no entry of is decided as by a run that has been there
without it, and not anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from aiki.core.states import TERMINAL
from aiki.execution.arrivals import Arrivals
from aiki.execution.beginning import begin
from aiki.execution.bounds import Limits
from aiki.execution.deliveries import LIVELOCK, SPIN
from aiki.execution.outbox import Outbox
from aiki.execution.reading import Reading
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Claimed, InboxReply

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution.body import Body
    from aiki.replay.recording import Recording
    from aiki.wire.messages import Attempt

_NEVER: Final = -(1 << 62)
"""A time at which no timer is due."""


class _NoTries:
    """The tries of a run of which none is made. Implements `aiki.execution.beginning.Prior`."""

    def know(self, prior: Mapping[str, Attempt], given_up: Mapping[str, int]) -> None:
        """Do nothing."""

    def tell_to_end(self) -> None:
        """Do nothing."""

    def may_be_left(self, now: int) -> bool:
        """Return False: what is not recorded does not happen."""
        return False


@contextmanager
def brought(recording: Recording, workflow: Workflow[..., Any]) -> Iterator[Body | BaseException]:
    """Bring the run as far as its record goes; give its body, or what failed it before its first step.

    The body is unwound at the end.
    """
    claimed, is_over = _claimed(recording, workflow.version), recording.exported.state in TERMINAL
    reading = Reading(claimed)
    reading.take_ends(InboxReply(recording.ends))
    body = begin(
        claimed,
        workflow,
        reading,
        arrivals=Arrivals(claimed, _room),
        attempts=_NoTries(),
        outbox=Outbox(len(recording.entries), Limits()),
        is_over=is_over,
    )
    if isinstance(body, BaseException):
        yield body
        return
    try:
        _run(body, is_over=is_over)
        yield body
    finally:
        body.leave()


def _claimed(recording: Recording, version: str) -> Claimed:
    """Return what a claim of the run would bring, had nothing come to it but what its entries have taken."""
    run, entries, tries = recording.exported.run, recording.entries, recording.tries
    return replace(
        run,
        version=version,
        entries=entries,
        length=len(entries),
        attempts=tries,
        tries=len(tries),
        arrivals=[],
        unread=0,
        news=0,
    )


def _run(body: Body, *, is_over: bool) -> None:
    """Have the body go as far as its record does; one without rest as far as it is let be, or has surely no end."""
    most = LIVELOCK if is_over else SPIN
    while body.pump(_NEVER, time.perf_counter):
        if body.spun >= most:
            return


def _room() -> int:
    return MESSAGE_BYTES
