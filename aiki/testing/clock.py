"""Own the time of a test: it stands still until the test moves it, and timers go off in the order of their dates.

It never waits. What is to run soon runs on the test's own loop, and is counted, so that "nothing moves" can be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, TypeVarTuple, Unpack

from aiki.core.moments import SECOND

Ts = TypeVarTuple("Ts")

BEGIN: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z: a test begins then if it says nothing else, so that what it sees is the same each time."""


class Clock:
    """Microseconds since the epoch, and the timers that wait for them."""

    def __init__(self, begin: int) -> None:
        self.now = begin
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    def due_at(self) -> int | None:
        """Return when the next timer goes off; None if there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def take_due(self) -> list[asyncio.TimerHandle]:
        """Return the timers whose time has come, in the order of their dates, and then in that in which they were set.

        None of them goes off twice.
        """
        due = []
        while self._timers and self._timers[0][0] <= self.now:
            due.append(heappop(self._timers)[2])
        return due

    def add(self, when: int, timer: asyncio.TimerHandle) -> None:
        """Have a timer go off at `when`, or at once if that has passed."""
        heappush(self._timers, (max(when, self.now), next(self._numbers), timer))


class ClockLoop(asyncio.AbstractEventLoop):
    """The loop that executions are given: the test's own, but that its time and its timers are those of the clock."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self.moves = 0
        """How much has run by now."""
        self.pending = 0
        """How much is to run in the loop's next turn."""
        self.on_move: asyncio.Future[None] | None = None
        """Who waits for anything to run."""
        self.broken: Exception | None = None
        """What went wrong where nobody could be told."""

    def time(self) -> float:
        """Return the clock's time in seconds."""
        return self._clock.now / SECOND

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back when the clock has gone on by so many seconds."""
        return self._call_at(self._clock.now + round(delay * SECOND), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back when the clock shows so many seconds."""
        return self._call_at(round(when * SECOND), callback, args, context)

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call back in the next turn of the test's loop."""
        self.pending += 1
        return self._loop.call_soon(self._run, callback, args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do so from any thread: not counted until then, for whoever tells of a thread knows that it runs."""
        return self._loop.call_soon_threadsafe(self._run_uncounted, callback, args, context=context)

    def ring(self) -> None:
        """Have all timers go off whose time has come, in the loop's next turn."""
        for timer in self._clock.take_due():
            self.call_soon(_ring, timer)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of the test's loop."""
        return self._loop.create_future()

    def get_debug(self) -> bool:
        """Tell whether the test's loop is debugged."""
        return self._loop.get_debug()

    def is_closed(self) -> bool:
        """Tell whether the test's loop is closed."""
        return self._loop.is_closed()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the test's loop of an exception."""
        self._loop.call_exception_handler(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a timer that was cancelled is left out when its time comes."""

    def _call_at(
        self, when: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when / SECOND, callback, args, self, context)
        self._clock.add(when, timer)
        return timer

    def _run(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.pending -= 1
        self._run_uncounted(callback, args)

    def _run_uncounted(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.moves += 1
        if self.on_move is not None and not self.on_move.done():
            self.on_move.set_result(None)
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - it is raised where the test waits
            self.broken = self.broken or error


def _ring(timer: asyncio.TimerHandle) -> None:
    """Let a timer go off, unless one that went off in the same turn has cancelled it."""
    if not timer.cancelled():
        timer._run()  # noqa: SLF001 - asyncio's own loops do the same with their timers
