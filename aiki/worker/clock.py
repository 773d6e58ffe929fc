"""Own the worker's idea of the database's time: what the last reply said, plus monotonic time since."""

import time


class DatabaseClock:
    """Times in microseconds since the epoch, at most a reply's way behind the database's."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._latest = 0

    def told(self, now: int) -> None:
        """Take in the database's time from a reply that has just arrived."""
        self._offset = now - _monotonic()

    def now(self) -> int:
        """Return the database's time; it never runs back. Before the first reply, this machine's."""
        if self._offset is None:
            return time.time_ns() // 1000
        now = time.monotonic_ns() // 1000 + self._offset  # as `_monotonic`: a call less on the hot path
        if now > self._latest:
            self._latest = now
        return self._latest

    def database(self) -> int:
        """Return the database's time as it stands, also after that was set back, to compare with other times of it."""
        return self.now() if self._offset is None else _monotonic() + self._offset


def _monotonic() -> int:
    return time.monotonic_ns() // 1000
