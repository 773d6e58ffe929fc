"""Own group commit on the caller's side: while one batch is in flight the next one gathers.

An idle batcher sends at once, so batching adds no timer and no latency.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Gather items into batches of at most `size`, with at most `lanes` batches in flight.

    `send` gets a batch and returns one answer per item, in order; an answer that is an exception is raised at
    the item's caller, and an exception that `send` raises is raised at all of the batch's callers.
    """

    def __init__(
        self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]], *, size: int, lanes: int = 2
    ) -> None:
        self._send = send
        self._size = size
        self._free = lanes
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._lanes: set[asyncio.Task[None]] = set()

    async def add(self, item: Item) -> Answer:
        """Return the answer to `item`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self._free:
            self._waiting.append((item, future))
            return await future
        self._free -= 1
        try:
            # In the caller's own task, which saves an idle batcher a turn of the loop.
            await self._answer([(item, future)])
        finally:
            self._free += 1
            self._start_lane()
        return await future

    def _start_lane(self) -> None:
        if self._waiting and self._free:
            self._free -= 1
            lane = asyncio.create_task(self._drain())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
                await self._answer(batch)
        finally:
            self._free += 1

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised at every caller
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


async def in_lanes(
    chunks: Iterable[Sequence[Item]], send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, lanes: int
) -> list[Answer]:
    """Return what `send` answers to all chunks, in their order, with at most `lanes` of them in flight.

    Raises what `send` raises, in a group.
    """
    answers: list[Sequence[Answer]] = []
    limit = asyncio.Semaphore(lanes)

    async def answer(place: int, chunk: Sequence[Item]) -> None:
        async with limit:
            answers[place] = await send(chunk)

    async with asyncio.TaskGroup() as group:
        for place, chunk in enumerate(chunks):
            answers.append(())
            group.create_task(answer(place, chunk))
    return [one for chunk in answers for one in chunk]
