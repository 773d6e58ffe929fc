"""Own when a run is stepped: at most once in a turn of the loop, never inside itself, and at its alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiki.core.moments import SECOND

if TYPE_CHECKING:
    from aiki.execution.watchdog import Step

_SHORTEST_ALARM: Final = 0.001


class Turns:
    """The turns of one run. `step` has it move as far as it goes, `wake` tells it that its alarm went off."""

    __slots__ = (
        *("_alarm", "_alarm_at", "_is_stepping", "_loop", "_step", "_wake"),
        *("again", "is_scheduled", "stirred", "watched"),
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, watched: Step, *, step: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self._loop = loop
        self.watched = watched
        """What the watchdog is told of these turns."""
        self._step = step
        self._wake = wake
        self._is_stepping = False
        self.is_scheduled = False
        """It has a turn of the loop to come."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0
        self.again = False
        """While it is stepped: something has come that a further step is to take in."""
        self.stirred = True
        """Something has come that may move the body."""

    def take(self) -> None:
        """Step the run now, and again for what comes about meanwhile. From inside a step: only have it step again."""
        if self._is_stepping:
            self.again = True
            return
        self._is_stepping = True
        try:
            self._step()
            while self.again:
                self.again = False
                self._step()
        finally:
            self._is_stepping = False

    def schedule(self) -> None:
        """Have the body stepped in the loop's next turn, however often this is asked for until then."""
        self.stirred = True
        if not self.is_scheduled:
            self.is_scheduled = True
            self._loop.call_soon(self._take_scheduled)

    def set_alarm(self, when: int, now: int) -> None:
        """Be woken at `when`, or before: an alarm that comes too early looks again. Both in microseconds."""
        if self._alarm is not None:
            if self._alarm_at <= when:
                return
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._loop.call_later(max((when - now) / SECOND, _SHORTEST_ALARM), self._ring)

    def stop_alarm(self) -> None:
        """Be woken no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def close(self) -> None:
        """Take no turn any more, and let go of whose turns these were."""
        self.stop_alarm()
        self.again = False
        self._step = self._wake = _nothing

    def _take_scheduled(self) -> None:
        self.is_scheduled = False
        self.take()

    def _ring(self) -> None:
        self._alarm = None
        self.stirred = True
        self._wake()


def _nothing() -> None:
    """Do nothing: the claim is over."""
