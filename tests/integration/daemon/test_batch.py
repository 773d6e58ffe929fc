"""Group commit: nothing waits for a timer, and a full queue refuses."""

import asyncio

import pytest

from aikid.batch import Batcher, Budget

pytestmark = pytest.mark.anyio


class Recorder:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    async def flush(self, items: list[int]) -> None:
        self.batches.append(items)
        self.began.set()
        await self.gate.wait()


async def test_what_arrives_in_one_turn_travels_together() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.flush, Budget(lanes=2, limit=100, capacity=100))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.run())
        await asyncio.sleep(0)
        assert all(batcher.add(n) for n in range(5))
        batcher.stop()
    assert recorder.batches == [[0, 1, 2, 3, 4]]


async def test_the_next_batch_gathers_while_all_lanes_are_busy() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.flush, Budget(lanes=1, limit=3, capacity=100))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.run())
        await asyncio.sleep(0)
        batcher.add(0)
        await recorder.began.wait()
        for n in range(1, 6):
            batcher.add(n)
        recorder.gate.set()
        batcher.stop()
    assert recorder.batches == [[0], [1, 2, 3], [4, 5]]


async def test_a_full_queue_and_a_stopped_one_refuse() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.flush, Budget(lanes=1, limit=1, capacity=2))
    assert [batcher.add(n) for n in range(3)] == [True, True, False]
    batcher.stop()
    assert batcher.add(9) is False
    await batcher.run()
    assert recorder.batches == [[0], [1]]


async def test_a_batch_is_bounded_by_weight_but_for_a_single_item() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.flush, Budget(lanes=1, limit=10, capacity=100), weigh=lambda item: item)
    for weight in (4, 4, 4, 50, 1, 1):
        batcher.add(weight)
    batcher.stop()
    await batcher.run()
    assert recorder.batches == [[4, 4], [4], [50], [1, 1]]


def owned(recorder: Recorder, budget: Budget) -> Batcher[int]:
    """A batcher whose items belong to their tens."""
    return Batcher(recorder.flush, budget, owner=lambda item: item // 10)


async def test_owners_are_served_in_turn() -> None:
    recorder = Recorder()
    batcher = owned(recorder, Budget(lanes=1, limit=4, capacity=100))
    for item in (10, 11, 12, 13, 14, 20, 21, 30):
        batcher.add(item)
    batcher.stop()
    await batcher.run()
    assert recorder.batches == [[10, 20, 30, 11], [21, 12, 13, 14]]


async def test_a_full_queue_of_one_owner_refuses_no_other() -> None:
    batcher = owned(Recorder(), Budget(lanes=1, limit=1, capacity=4))
    assert [batcher.add(item) for item in (10, 11, 12, 13, 14)] == [True] * 4 + [False]
    # Two owners have two places each, three one each; who holds more keeps them, and gets none.
    assert [batcher.add(item) for item in (20, 21, 22)] == [True, True, False]
    assert [batcher.add(item) for item in (30, 31, 15)] == [True, False, False]
    assert [batcher.add(item) for item in (40, 50)] == [True, False]
    batcher.stop()
    await batcher.run()


async def test_one_owner_cannot_take_all_lanes() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = owned(recorder, Budget(lanes=3, limit=1, capacity=100, lanes_each=2))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.run())
        for item in (10, 11, 12, 13):
            batcher.add(item)
        for _ in range(5):
            await asyncio.sleep(0)
        assert recorder.batches == [[10], [11]]
        batcher.add(20)
        for _ in range(5):
            await asyncio.sleep(0)
        assert recorder.batches == [[10], [11], [20]]
        recorder.gate.set()
        batcher.stop()
    assert sorted(recorder.batches) == [[10], [11], [12], [13], [20]]
