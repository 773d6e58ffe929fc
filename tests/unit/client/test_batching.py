"""Group commit at the caller: one batch in flight, the next gathers."""

import asyncio
from collections.abc import Sequence

import pytest

from aiki.client.batching import Batcher, in_lanes


def test_what_is_added_while_a_batch_is_in_flight_travels_together() -> None:
    batches: list[list[int]] = []

    async def main() -> None:
        started, gate = asyncio.Event(), asyncio.Event()

        async def send(batch: Sequence[int]) -> list[int]:
            batches.append(list(batch))
            started.set()
            await gate.wait()
            return [item * 10 for item in batch]

        batcher: Batcher[int, int] = Batcher(send, size=100, lanes=1)
        first = asyncio.create_task(batcher.add(1))
        await started.wait()
        rest = [asyncio.create_task(batcher.add(item)) for item in (2, 3, 4)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]

    asyncio.run(main())
    assert batches == [[1], [2, 3, 4]]


def test_a_batch_is_never_larger_than_its_size() -> None:
    batches: list[int] = []

    async def main() -> None:
        async def send(batch: Sequence[int]) -> list[int]:
            batches.append(len(batch))
            return list(batch)

        batcher: Batcher[int, int] = Batcher(send, size=3, lanes=1)
        assert await asyncio.gather(*(batcher.add(item) for item in range(8))) == list(range(8))

    asyncio.run(main())
    assert sum(batches) == 8
    assert max(batches) <= 3


def test_a_failed_batch_fails_all_of_its_callers_and_no_other() -> None:
    async def main() -> None:
        async def send(batch: Sequence[str]) -> list[str]:
            await asyncio.sleep(0)
            if "bad" in batch:
                raise ValueError("bad")
            return list(batch)

        batcher: Batcher[str, str] = Batcher(send, size=2, lanes=1)
        answers = await asyncio.gather(*(batcher.add(item) for item in ("w", "bad", "x", "y")), return_exceptions=True)
        assert [type(answer) for answer in answers] == [str, ValueError, ValueError, str]

    asyncio.run(main())


def test_one_answer_can_be_an_error() -> None:
    async def main() -> None:
        async def send(batch: Sequence[int]) -> list[int | Exception]:
            return [KeyError(item) if item == 2 else item for item in batch]

        batcher: Batcher[int, int] = Batcher(send, size=9)
        one, two = asyncio.create_task(batcher.add(1)), asyncio.create_task(batcher.add(2))
        assert await one == 1
        with pytest.raises(KeyError):
            await two

    asyncio.run(main())


def test_chunks_are_answered_in_their_order_and_no_more_than_the_lanes_at_a_time() -> None:
    flying: set[int] = set()
    most: list[int] = []

    async def main() -> list[int]:
        last_but_one = asyncio.Event()

        async def send(chunk: Sequence[int]) -> list[int]:
            flying.add(chunk[0])
            most.append(len(flying))
            if chunk[0] == 0:
                await last_but_one.wait()
            if chunk[0] == 2:
                last_but_one.set()
            flying.remove(chunk[0])
            return [item * 10 for item in chunk]

        return await in_lanes([[0, 0], [1], [2, 2], [3]], send, lanes=2)

    assert asyncio.run(main()) == [0, 0, 10, 20, 20, 30]
    assert max(most) == 2
