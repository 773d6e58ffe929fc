"""Own the signs of life of one try as its worker takes them in, and how often what it says is handed on.

A sign costs the thread that gives it next to nothing: the worker's loop is called for what is said alone, and once for
all that is said until it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiki.inside.pulse import Pulse

EVERY_SECONDS: Final = 1.0
"""How far apart it is that what a try says is handed on, at first at once."""


class Signs(Pulse):
    """A try's pulse in the worker's process."""

    __slots__ = ("_handed_at", "_is_called", "_is_closed", "_loop", "_on_said", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_said: Callable[[], None], *, said: bytes | None) -> None:
        """`on_said` is called on the loop; `said` is what the tries before have said last."""
        # Not by super().__init__, for there is one of these to each try of each task.
        self.stamp = 0
        self.said = said
        self.cancelled = self._raises = False
        self._loop = loop
        self._on_said = on_said
        self._is_called = False
        self._is_closed = False
        self._handed_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Hand nothing on any more: the try is over, and who made it is let go of. On the loop."""
        self._is_closed = True
        self._on_said = _nobody
        if self._timer is not None:
            self._timer.cancel()

    def _on_beat(self, *, says: bool) -> None:
        if says and not self._is_called:
            self._is_called = True
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._on_call)

    def _on_call(self) -> None:
        self._is_called = False  # before that is read: what is said from here on calls again
        if self._is_closed or self._timer is not None:
            return
        wait = 0.0 if self._handed_at is None else self._handed_at + EVERY_SECONDS - self._loop.time()
        if wait <= 0:
            self._hand_on()
        else:
            self._timer = self._loop.call_later(wait, self._hand_on)

    def _hand_on(self) -> None:
        self._timer = None
        self._handed_at = self._loop.time()
        self._on_said()


def _nobody() -> None:
    """Stand for whoever hears of what is said, once the try is over."""
