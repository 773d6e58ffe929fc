"""Own what a try and its worker say to each other while it runs: that it lives, what it has come to, that it is to end.

All of it may be said from any thread: attributes are set in one assignment each, and nothing here waits.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from aiki.core.errors import TaskCancelled


class Pulse(ABC):
    """One try's."""

    __slots__ = ("_raises", "cancelled", "said", "stamp")

    def __init__(self, said: bytes | None = None) -> None:
        self.stamp = 0
        """Another one with each sign of life; set by the thread that gives it."""
        self.said = said
        """A `Said` as JSON: the last of the tries before, until this one has said anything."""
        self.cancelled = False
        """Whether the try has been given up."""
        self._raises = False

    def beat(self, said: bytes | None = None) -> None:
        """Give a sign of life, with what there is to say. Raises TaskCancelled once if it is to hear of its end so."""
        if self._raises:
            self._raises = False
            raise TaskCancelled("this try of the task has been given up: nobody waits for its result")
        if said is not None:
            self.said = said
        self.stamp = time.monotonic_ns()
        self._on_beat(says=said is not None)

    def cancel(self, *, raises: bool) -> None:
        """Tell the try that it has been given up; with `raises` its next sign of life raises TaskCancelled."""
        if not self.cancelled:
            self._raises = raises
            self.cancelled = True

    @abstractmethod
    def _on_beat(self, *, says: bool) -> None:
        """Tell whoever is to know, in the thread of the one that has said it."""
