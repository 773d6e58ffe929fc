"""Own group commit: while one batch is in flight the next one gathers, and when idle a call goes out at once.

There is no timer, so batching adds no delay. The queue is bounded: beyond it a call is refused, never parked, so
each kind of call has a budget of its own and a flood of new work cannot starve renewals and records.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """A queue whose items are flushed in batches by `lanes` tasks. `flush` must not raise but for cancellation."""

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[None]],
        *,
        lanes: int,
        limit: int,
        capacity: int,
        weigh: Callable[[T], int] = lambda _: 1,
    ) -> None:
        """Take at most `limit` weight into a batch (one item always) and `capacity` items into the queue."""
        self._flush = flush
        self._lanes = lanes
        self._limit = limit
        self._capacity = capacity
        self._weigh = weigh
        self._queue: deque[T] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False

    def add(self, item: T) -> bool:
        """Queue `item`; return False if the queue is full."""
        if self._stopping or len(self._queue) >= self._capacity:
            return False
        self._queue.append(item)
        if self._idle:
            # The lane runs in the loop's next turn: whatever arrived in this one travels with it.
            self._wake()
        return True

    async def run(self) -> None:
        """Flush until `stop`, then what is queued still."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._lanes):
                tasks.create_task(self._lane())

    def stop(self) -> None:
        """Refuse new items and let `run` return when the queue is empty."""
        self._stopping = True
        while self._idle:
            self._wake()

    async def _lane(self) -> None:
        while True:
            while not self._queue:
                if self._stopping:
                    return
                await self._sleep()
            await self._flush(self._take())

    async def _sleep(self) -> None:
        idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        await idle

    def _wake(self) -> None:
        idle = self._idle.pop()
        if not idle.done():
            idle.set_result(None)

    def _take(self) -> list[T]:
        batch = [self._queue.popleft()]
        weight = self._weigh(batch[0])
        while self._queue and weight < self._limit:
            weight += self._weigh(self._queue[0])
            if weight > self._limit:
                break
            batch.append(self._queue.popleft())
        return batch
