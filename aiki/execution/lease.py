"""Own the lease of one session, as the runs that were claimed under it see it, and the last look before an effect.

Side effects may begin until `certain_until` and not later: the daemon gives the runs to others only after that. A
lease that was lost stays lost. The session that follows has a lease of its own, so what was claimed under the old one
can never begin because the new one is certain.

`Lease.begin` is the one place at which a task's function is called. Between the decision to start a try and that call
lies a turn of the loop, a thread's start, a wait for a free child process or a child's import, and a process that was
frozen there may have lost its runs: so whoever calls a task calls it by `begin`, as the last thing before the effect,
in whatever thread or process that is (`tests/unit/execution/test_lease.py` walks all ways there).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

R = TypeVar("R")
_WAIT: Final = 0.9
CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The clock of a worker: all its processes share it, it runs while the machine sleeps, and nobody sets it."""


class NotStarted(Exception):
    """The body was not called: nothing has happened, and it may be tried when the lease is certain."""


class Lease:
    """The lease of the session with id `session`. Threads read it, and one of them, its keeper's, writes it."""

    __slots__ = ("certain_until", "session", "ttl_seconds")

    def __init__(self, session: str = "", ttl_seconds: float = 0.0, *, certain_until: float = 0.0) -> None:
        self.session = session
        self.ttl_seconds = ttl_seconds
        self.certain_until = certain_until
        """By `boottime`, which all processes of this machine share. One assignment changes it: no lock is needed."""

    @property
    def reply_seconds(self) -> float:
        """How long a reply is waited for under this lease: less than the third after which a renewal follows.

        A claim whose wait is over can so bring nothing that a renewal has named as unlisted.
        """
        return _WAIT * self.ttl_seconds / 3

    def is_certain(self) -> bool:
        """Tell whether side effects may begin."""
        return time.clock_gettime(CLOCK) < self.certain_until

    def begin(self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Call a task's function, if the lease is certain. Raises NotStarted if it is not."""
        if not self.is_certain():
            raise NotStarted
        return fn(*args, **kwargs)


def boottime() -> float:
    """Return the seconds since this machine was started, the time included in which it or a process was frozen."""
    return time.clock_gettime(CLOCK)
