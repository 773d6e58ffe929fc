"""Own what a try and its worker say to each other while it runs: that it lives, how far it has come, that it is to end.

All of it may be said from any thread: attributes are set in one assignment each, and nothing here waits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from aiki.core.errors import TaskCancelled


class Pulse(ABC):
    """One try's."""

    __slots__ = ("_raises", "cancelled", "details", "stamp")

    def __init__(self, details: bytes | None = None) -> None:
        self.stamp = 0
        """Another one with each sign of life; set by the thread that gives it."""
        self.details = details
        """The last details, as JSON: those of the tries before, until this one has said any."""
        self.cancelled = False
        """Whether the try has been given up."""
        self._raises = False

    def beat(self, details: bytes | None = None) -> None:
        """Give a sign of life, with details if there are any. Raises TaskCancelled once if it is to hear it so."""
        if self._raises:
            self._raises = False
            raise TaskCancelled("this try of the task has been given up: nobody waits for its result")
        if details is not None:
            self.details = details
        self.stamp = time.monotonic_ns()
        self._on_beat(has_details=details is not None)

    def cancel(self, *, raises: bool) -> None:
        """Tell the try that it has been given up; with `raises` its next sign of life raises TaskCancelled."""
        if not self.cancelled:
            self._raises = raises
            self.cancelled = True

    @abstractmethod
    def _on_beat(self, *, has_details: bool) -> None:
        """Tell whoever is to know, in the thread of the one that has said it."""
