"""The recorder: which outcomes travel together, and after how many turns of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Fence, Record, Recorded, RecordReply, Unit
from aiki.worker.clock import DatabaseClock
from aiki.worker.recorder import Recorder

pytestmark = pytest.mark.anyio


class Wire:
    """As much of a transport as a recorder knows. A reply takes a turn of the loop."""

    room = MESSAGE_BYTES

    def __init__(self) -> None:
        self.requests: list[int] = []

    async def call(self, request: Record, *, seconds: float) -> RecordReply:
        self.requests.append(len(request.units))
        await asyncio.sleep(0)
        return RecordReply(1, [Recorded("done")] * len(request.units))


class Chain:
    """A run of so many tasks in a row, each of which ends in its first step: in the turn after it was let go."""

    def __init__(self, recorder: Recorder, number: int, tasks: int) -> None:
        self.left = tasks
        self.is_over = asyncio.Event()
        self._recorder = recorder
        self._fence = Fence(f"run-{number}", 1, "claim")

    def go_on(self) -> None:
        run: Any = self
        self.left -= 1
        self._recorder.submit(run, Unit(self._fence, 0, [], []))

    def on_recorded(self, recorded: Recorded) -> None:
        if self.left:
            asyncio.get_running_loop().call_soon(self.go_on)
        else:
            self.is_over.set()


async def run(chains: int, tasks: int) -> tuple[list[int], int]:
    """Return how many units travelled in each request, and how many turns of the loop it all took."""
    wire: Any = Wire()
    recorder = Recorder(wire, DatabaseClock(), None)
    runs = [Chain(recorder, number, tasks) for number in range(chains)]
    turns = 0
    for one in runs:
        one.go_on()
    while not all(one.is_over.is_set() for one in runs):
        await asyncio.sleep(0)
        turns += 1
    await recorder.close()
    return wire.requests, turns


async def test_one_task_after_the_other_takes_two_turns_beside_the_reply() -> None:
    requests, turns = await run(1, 100)
    assert requests == [1] * 100
    assert turns <= 2 * 100 + 5


async def test_what_runs_of_one_request_go_on_with_travels_in_one_request() -> None:
    requests, _ = await run(30, 10)
    assert requests == [30] * 10
