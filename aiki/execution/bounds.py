"""Own how long and how much one execution may."""

from __future__ import annotations

from dataclasses import dataclass

from aiki.wire.limits import ENTRIES_HARD, ENTRIES_SOFT, JOURNAL_BYTES_HARD, JOURNAL_BYTES_SOFT


@dataclass(frozen=True, slots=True)
class Limits:
    """The same for all executions of a worker."""

    linger_seconds: float = 10.0
    """A run whose next timer is further away than this leaves memory at once."""
    inline_retry_seconds: float = 5.0
    """The same for a retry."""
    slow_step_seconds: float = 0.1
    """A body that blocks the loop for longer is logged with its line."""
    lease_poll_seconds: float = 0.5
    """How often to look again whether tasks may start, while the lease is uncertain."""
    entries_soft: int = ENTRIES_SOFT
    """A journal that comes to so many entries is warned of."""
    entries_hard: int = ENTRIES_HARD
    """A run whose journal comes to so many entries fails."""
    bytes_soft: int = JOURNAL_BYTES_SOFT
    bytes_hard: int = JOURNAL_BYTES_HARD
    """The same for its bytes."""
