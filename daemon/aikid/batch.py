"""Own group commit: while one batch is in flight the next one gathers, and when idle a call goes out at once.

There is no timer, so batching adds no delay. The queue is bounded: beyond it a call is refused, never parked, so
each kind of call has a budget of its own and a flood of new work cannot starve renewals and records.

Nor can one owner (a namespace) starve another: those who wait are served in turn, item by item, and n of them may hold
1/n of the queue each. What the first to come holds beyond that is kept, so n owners together hold at most the capacity
times 1 + 1/2 + ... + 1/n.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a kind of call may take: `limit` weight in a batch (one item always), `capacity` items in the queue."""

    lanes: int
    limit: int
    capacity: int
    lanes_each: int | None = None
    """How many lanes may work for one owner at a time, if not all of them."""


class Batcher(Generic[T]):
    """A queue whose items are flushed in batches by tasks, the lanes. `flush` must not raise but for cancellation."""

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[None]],
        budget: Budget,
        *,
        weigh: Callable[[T], int] = lambda _: 1,
        owner: Callable[[T], Hashable] = lambda _: None,
    ) -> None:
        self._flush = flush
        self._budget = budget
        self._weigh = weigh
        self._owner = owner
        self._queues: dict[Hashable, deque[T]] = {}
        """By owner, in the order in which they are served. None is empty."""
        self._lanes_of: dict[Hashable, int] = {}
        """How many lanes work for an owner; counted only if there is a bound."""
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False

    def add(self, item: T) -> bool:
        """Queue `item`; return False if its owner's share of the queue is full."""
        owner = self._owner(item)
        queue = self._queues.get(owner)
        owners = len(self._queues) + (queue is None)
        if self._stopping or (len(queue) if queue else 0) >= self._budget.capacity // owners:
            return False
        if queue is None:
            self._queues[owner] = deque((item,))
        else:
            queue.append(item)
        if self._idle:
            # The lane runs in the loop's next turn: whatever arrived in this one travels with it.
            self._wake()
        return True

    async def run(self) -> None:
        """Flush until `stop`, then what is queued still."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._budget.lanes):
                tasks.create_task(self._lane())

    def stop(self) -> None:
        """Refuse new items and let `run` return when the queue is empty."""
        self._stopping = True
        while self._idle:
            self._wake()

    async def _lane(self) -> None:
        while True:
            while not (batch := self._take()):
                if self._stopping:
                    return
                await self._sleep()
            if self._budget.lanes_each is None:
                await self._flush(batch)
                continue
            owners = {self._owner(item) for item in batch}
            for owner in owners:
                self._lanes_of[owner] = self._lanes_of.get(owner, 0) + 1
            try:
                await self._flush(batch)
            finally:
                for owner in owners:
                    if (left := self._lanes_of.pop(owner) - 1) > 0:
                        self._lanes_of[owner] = left

    async def _sleep(self) -> None:
        idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        await idle

    def _wake(self) -> None:
        idle = self._idle.pop()
        if not idle.done():
            idle.set_result(None)

    def _take(self) -> list[T]:
        """Return the next batch, an item of each owner in turn; nothing if nobody waits who may have a lane."""
        batch: list[T] = []
        room = self._budget.limit
        while room > 0 and (found := self._next_queue()) is not None:
            owner, queue = found
            room -= self._weigh(queue[0])
            if batch and room < 0:
                break
            batch.append(queue.popleft())
            if not queue:
                del self._queues[owner]
            elif len(self._queues) > 1:
                self._queues[owner] = self._queues.pop(owner)  # its next turn comes after all others
        return batch

    def _next_queue(self) -> tuple[Hashable, deque[T]] | None:
        each = self._budget.lanes_each
        for owner, queue in self._queues.items():
            if each is None or self._stopping or self._lanes_of.get(owner, 0) < each:
                return owner, queue
        return None
