"""Own when each of many is told of next: at once, but not sooner than a gap after the last time.

Whatever happens meanwhile is told of together when the gap is over, so the last change is never swallowed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from aikid.tell.alarm import Alarm

K = TypeVar("K", bound=Hashable)

_IDLE_SECONDS: Final = 60.0


class Pace(Generic[K]):
    """The dates of those that are to be told of; where there is a rest, after that at the latest."""

    def __init__(self, *, gap_seconds: float, rest_seconds: float | None = None) -> None:
        self._gap = gap_seconds
        self._rest = rest_seconds
        self._dates: dict[K, float] = {}
        """When each is told of next."""
        self._told: dict[K, float] = {}
        """When each was told of last."""
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._alarm = Alarm()

    def stir(self, key: K, *, seconds: float = 0.0) -> None:
        """Have one be told of in so many seconds at the latest."""
        now = asyncio.get_running_loop().time()
        at = max(now + seconds, self._told.get(key, 0.0) + self._gap)
        if at < self._dates.get(key, float("inf")):
            self._date(key, at)

    def forget(self, key: K) -> None:
        """Have one be told of no more."""
        self._dates.pop(key, None)
        self._told.pop(key, None)

    async def due(self) -> list[K]:
        """Return those that are to be told of now, as soon as there are any.

        They count as told from here on: what happens while they are read is told of once more.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._alarm.forget()
            now, found = loop.time(), []
            while self._heap and (self._heap[0][0] <= now or not self._is_date(*self._heap[0])):
                entry = heapq.heappop(self._heap)
                if self._is_date(*entry):
                    found.append(entry[2])
                    self._told[entry[2]] = now
                    del self._dates[entry[2]]
            if found:
                for key in found if self._rest is not None else ():
                    self._date(key, now + (self._rest or 0.0))
                return found
            self._alarm.due_in(self._heap[0][0] - now if self._heap else _IDLE_SECONDS)
            await self._alarm.wait()

    def _is_date(self, at: float, _: int, key: K) -> bool:
        return self._dates.get(key) == at

    def _date(self, key: K, at: float) -> None:
        self._dates[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))
        self._alarm.due_in(at - asyncio.get_running_loop().time())
