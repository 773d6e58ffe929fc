"""Own what a worker was told when it was made: how much it may run at once, and how long it waits for what."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Final

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import UsageError
from aiki.execution import Limits
from aiki.wire.limits import CLAIM_RUNS
from aiki.worker.claims import Pace

MIN_LEASE_SECONDS: Final = 1.0
MIN_IDLE_SECONDS: Final = 0.1
MAX_IDLE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Options:
    """The checked options of one worker."""

    id: str
    slots: int
    drain_seconds: float
    lease_seconds: float
    start_seconds: float
    pace: Pace
    limits: Limits


def checked(
    *,
    id: str | None,
    max_concurrent_runs: int,
    drain: Duration,
    lease: Duration,
    linger: Duration,
    start_timeout: Duration,
    fetch_batch: int,
    idle_poll: Duration,
) -> Options:
    """Return what the arguments of a `Worker` come to. Raises UsageError for what cannot be."""
    if max_concurrent_runs < 1:
        raise UsageError(f"max_concurrent_runs must be at least 1, not {max_concurrent_runs}")
    return Options(
        id=id or f"{socket.gethostname()}-{os.getpid()}",
        slots=max_concurrent_runs,
        drain_seconds=to_seconds(drain),
        lease_seconds=_lease_seconds(lease),
        start_seconds=to_seconds(start_timeout),
        pace=_pace(fetch_batch, to_seconds(idle_poll)),
        limits=Limits(linger_seconds=to_seconds(linger)),
    )


def _lease_seconds(lease: Duration) -> float:
    seconds = to_seconds(lease)
    if seconds < MIN_LEASE_SECONDS:
        raise UsageError(f"a lease of {seconds:g} s is too short: at least {MIN_LEASE_SECONDS:g} s")
    return seconds


def _pace(fetch_batch: int, idle_seconds: float) -> Pace:
    if type(fetch_batch) is not int or not 1 <= fetch_batch <= CLAIM_RUNS:
        raise UsageError(f"fetch_batch={fetch_batch!r}: it must be a whole number from 1 to {CLAIM_RUNS}")
    if not MIN_IDLE_SECONDS <= idle_seconds <= MAX_IDLE_SECONDS:
        raise UsageError(f"idle_poll is {idle_seconds:g} s: it must be from 100 ms to 1 h")
    return Pace(fetch_batch, idle_seconds)
