"""Own the timers of one run's loop: which are pending, which is due first, and which one a recorded entry means.

They carry keys made from their delay or their date, not from the order in which they were made: a timeout that never
fired leaves no trace, and adding one disturbs no recorded timer of another length.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from aiki.core.keys import UNTIL, kind_of
from aiki.core.moments import SECOND

LAST_DATE: Final = 253_402_214_400_000_000
"""The last day of the year 9999 as it begins in UTC: later ones cannot be shown in every time zone."""
_SLEPT: Final = "_set_result_unless_cancelled"
"""The name of what `asyncio.sleep` has called back."""


class Timer(asyncio.TimerHandle):
    """A timer of the body, found again on replay by its key."""

    __slots__ = ("asked", "fired", "is_timeout", "key", "length_us", "made_us", "reaches", "when_us")

    def __init__(
        self,
        when_us: int,
        key: str,
        callback: Callable[..., object],
        args: Any,
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
        *,
        made_us: int,
        asked: int,
    ) -> None:
        super().__init__(when_us / SECOND, callback, args, loop, context)
        self.asked = asked
        """How many entries had been delivered when it was made."""
        self.is_timeout = False
        """Whether it ends the wait of the open call with its key: then that is answered, and nothing called back."""
        self.made_us = made_us
        self.length_us = when_us - made_us
        self.when_us = when_us
        self.key = key
        self.reaches = self.when()
        """What the loop's `time()` has come to when this goes off."""
        self.fired = False

    def move(self, by_us: int) -> None:
        """Go off so much later than was set."""
        by_us = min(by_us, LAST_DATE - self.when_us)
        self.when_us += by_us
        self.reaches += by_us / SECOND

    @property
    def began_us(self) -> int:
        """Since when it runs: it began later if it was moved."""
        return self.when_us - self.length_us

    @property
    def is_sleep(self) -> bool:
        """Whether somebody just waits for it, as `asyncio.sleep` does; it is no deadline of anything."""
        return getattr(self._callback, "__name__", "") == _SLEPT  # type: ignore[attr-defined]  # asyncio's own slot


class Timers(list[tuple[int, int, Timer]]):
    """The timers of one run, as a heap by date; with some that are over: `first` knows.

    A list itself, since each delivery asks whether there is any, and most runs have none.
    """

    __slots__ = ("_by_key", "_cancelled", "_made")

    def __init__(self) -> None:
        super().__init__()
        self._by_key: dict[str, deque[Timer]] = {}
        """Those that replay finds by their keys, in the order made."""
        self._made = 0
        self._cancelled = 0

    def add(self, timer: Timer) -> None:
        """Take in a timer that an entry with its key may mean."""
        self.push(timer)
        self._by_key.setdefault(timer.key, deque()).append(timer)

    def push(self, timer: Timer) -> None:
        """Take in one whose call is found in its place: a timeout's."""
        self._made += 1
        heapq.heappush(self, (timer.when_us, self._made, timer))

    def first(self) -> Timer | None:
        """Return the pending timer that is due first."""
        while self and (self[0][2].fired or self[0][2].cancelled()):
            heapq.heappop(self)
        return self[0][2] if self else None

    def sleep_at(self, at: int) -> Timer | None:
        """Return the sleep that is due first of those that went on at this time: what a wake ends then.

        One that shares its key with an older timeout is none: on replay that would be taken for it.
        """
        pending = (timer for _, _, timer in sorted(self) if not timer.fired and timer.made_us <= at)
        return next((timer for timer in pending if timer.is_sleep and self.pending(timer.key) is timer), None)

    def slept_at(self, at: int) -> bool:
        """Tell whether a sleep is pending that went on at this time."""
        return any(one.is_sleep and one.made_us <= at for *_, one in self if not (one.fired or one.cancelled()))

    def pending(self, key: str) -> Timer | None:
        """Return the oldest pending timer with this key: of equal keys it is also the one due first."""
        queue = self._by_key.get(key)
        while queue:
            if not queue[0].cancelled():
                return queue[0]
            queue.popleft()
        return None

    def move(self, by_us: int) -> None:
        """Have all of them go off so much later, but for those that wait for a date."""
        for _, _, timer in self:
            if kind_of(timer.key) != UNTIL:
                timer.move(by_us)
        self._order()

    def restart(self, timer: Timer, now_us: int) -> None:
        """Have a timer begin anew, with its whole length."""
        timer.move(now_us + timer.length_us - timer.when_us)
        self._order()

    def take(self, timer: Timer) -> None:
        """Forget a timer that goes off. It must be what `pending` returns for its key."""
        queue = self._by_key[timer.key]
        while queue.popleft() is not timer:
            pass  # cancelled ones
        if not queue:
            del self._by_key[timer.key]
        timer.fired = True

    def count_cancelled(self) -> None:
        """Take in that one was cancelled; forget such ones when they are the most of all."""
        self._cancelled += 1
        if self._cancelled > 64 and 2 * self._cancelled > len(self):
            self._prune()

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._by_key.clear()

    def _order(self) -> None:
        self[:] = [(timer.when_us, made, timer) for _, made, timer in self]
        heapq.heapify(self)

    def _prune(self) -> None:
        """Forget cancelled timers: a loop of `wait_for` would otherwise keep one per round until it is due."""
        self._cancelled = 0
        self[:] = [item for item in self if not (item[2].fired or item[2].cancelled())]
        heapq.heapify(self)
        for key, queue in list(self._by_key.items()):
            pending = deque(timer for timer in queue if not timer.cancelled())
            if pending:
                self._by_key[key] = pending
            else:
                del self._by_key[key]
