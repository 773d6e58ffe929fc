"""Own the worker's idea of the database's time: what the last reply said, and the time since.

That is measured by the clock of its lease, which runs while the machine sleeps and which nobody sets. All that a worker
stores, or compares with what is stored, is of this time: what its own machine takes for the date never matters.
"""

import time
from typing import Final

from aiki.execution.lease import CLOCK

_SET_BACK: Final = 1_000_000
"""A reply that is so far behind what the last ones said was not slow: the database's clock was set back."""


class DatabaseClock:
    """Times in microseconds since the epoch, at most a reply's way behind the database's."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._latest = 0

    def told(self, now: int) -> None:
        """Take in the database's time from a reply that has just arrived."""
        self._offset = now - _elapsed()
        if now < self._latest - _SET_BACK:
            self._latest = now

    def now(self) -> int:
        """Return the database's time. Before the first reply, this machine's.

        It never runs back for less than a second. By more it goes along: what begins after that is timed by the clock
        that it is to be due by.
        """
        if self._offset is None:
            return time.time_ns() // 1000
        now = time.clock_gettime_ns(CLOCK) // 1000 + self._offset  # as `_elapsed`: a call less on the hot path
        if now > self._latest:
            self._latest = now
        return self._latest

    def database(self) -> int:
        """Return the database's time as it stands, also after that was set back, to compare with other times of it."""
        return self.now() if self._offset is None else _elapsed() + self._offset


def _elapsed() -> int:
    return time.clock_gettime_ns(CLOCK) // 1000
