"""Own what waits for a date: the calls whose next attempt is due later, by when."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Forgettable(Protocol):
    """What may wait here."""

    @property
    def is_over(self) -> bool:
        """Whether it waits no longer: it is then left out."""
        ...


W = TypeVar("W", bound=Forgettable)


class Retries(Generic[W]):
    """What waits, the first to be due in front; equal dates in the order in which they were added."""

    __slots__ = ("_added", "_heap")

    def __init__(self) -> None:
        self._added = 0
        self._heap: list[tuple[int, int, W]] = []

    def add(self, when: int, waiting: W) -> None:
        """Have it wait until `when`, in microseconds."""
        self._added += 1
        heapq.heappush(self._heap, (when, self._added, waiting))

    def next_at(self) -> int | None:
        """Return when the first one is due; None if nothing waits."""
        heap = self._heap
        while heap and heap[0][2].is_over:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def first(self) -> W:
        """Return the one that is due at `next_at()`."""
        return self._heap[0][2]

    def take_due(self, now: int) -> Iterator[W]:
        """Take out what is due by `now`."""
        while (when := self.next_at()) is not None and when <= now:
            yield heapq.heappop(self._heap)[2]

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._heap.clear()
