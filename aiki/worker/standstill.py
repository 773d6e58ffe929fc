"""Own the measure of how long a loop did not run, although it was due: its process was frozen, or its thread held up.

Pure: whoever owns the loop looks, and tells the time.
"""

from __future__ import annotations

from typing import Final

LOOK_SECONDS: Final = 0.5


class Standstill:
    """The longest time between two looks, which are due every LOOK_SECONDS."""

    def __init__(self, now: float) -> None:
        self._looked = now
        self._longest = 0.0

    def look(self, now: float) -> None:
        """Take note that the loop runs."""
        self._longest = max(self._longest, now - self._looked - LOOK_SECONDS)
        self._looked = now

    def take(self) -> float:
        """Return the seconds of the longest standstill since this was asked last."""
        longest, self._longest = self._longest, 0.0
        return longest
