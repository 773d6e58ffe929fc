"""Own the measures of how long a loop did not run, although it was due: its process was frozen, or its thread held up.

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


class Stall:
    """How long one loop has not moved, by the looks of another, which are due every LOOK_SECONDS.

    Time in which that did not run either counts for nothing: the process was frozen, or its machine slept.
    """

    def __init__(self) -> None:
        self._beats = 0
        self._seen = 0
        self._looks = 0

    def beat(self) -> None:
        """Take note that the loop moves."""
        self._beats += 1

    def look(self) -> float:
        """Take note that the other runs; return for how many seconds it has seen the first one stand."""
        beats = self._beats
        self._looks = self._looks + 1 if beats == self._seen else 0
        self._seen = beats
        return self._looks * LOOK_SECONDS
