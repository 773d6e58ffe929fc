"""When a run is stepped: once in a turn of the loop, never inside itself, and at its alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aiki.core.moments import SECOND
from aiki.execution.turns import Turns
from aiki.execution.watchdog import Step
from tests.worlds.virtual_loop import VirtualLoop, simulate


class Told:
    """What is told of its turns, and does at each step what it is given to do."""

    def __init__(self, *steps: Callable[[Turns], None]) -> None:
        self.turns = Turns(asyncio.get_running_loop(), Step("run", 1), step=self.step, wake=self.wake)
        self.words: list[str] = []
        self.steps = list(steps)

    def step(self) -> None:
        self.words.append("step")
        if self.steps:
            self.steps.pop(0)(self.turns)
        self.words.append("done")

    def wake(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.words.append(f"wake at {loop.time():g}")


def test_a_step_is_never_inside_another() -> None:
    async def main() -> None:
        told = Told(Turns.take, Turns.take)
        told.turns.take()
        assert told.words == ["step", "done"] * 3

    simulate(main())


def test_a_turn_is_taken_once_however_often_it_is_asked_for() -> None:
    async def main() -> None:
        told = Told()
        told.turns.stirred = False
        told.turns.schedule()
        told.turns.schedule()
        assert told.turns.is_scheduled
        assert told.turns.stirred
        assert told.words == []
        await asyncio.sleep(0)
        assert told.words == ["step", "done"]
        assert not told.turns.is_scheduled
        await asyncio.sleep(0)
        assert told.words == ["step", "done"]

    simulate(main())


def test_a_turn_that_a_step_asks_for_is_the_next_one() -> None:
    async def main() -> None:
        told = Told(Turns.schedule)
        told.turns.take()
        assert told.words == ["step", "done"]
        await asyncio.sleep(0)
        assert told.words == ["step", "done"] * 2

    simulate(main())


def test_what_a_step_raises_ends_the_turn_and_not_the_turns() -> None:
    def fail(turns: Turns) -> None:
        raise RuntimeError

    async def main() -> None:
        told = Told(fail)
        with pytest.raises(RuntimeError):
            told.turns.take()
        told.turns.take()
        assert told.words == ["step", "step", "done"]

    simulate(main())


def test_an_alarm_goes_off_at_its_date_and_an_earlier_one_takes_its_place() -> None:
    async def main() -> None:
        told = Told()
        told.turns.stirred = False
        told.turns.set_alarm(5 * SECOND, 0)
        told.turns.set_alarm(7 * SECOND, 0)
        told.turns.set_alarm(3 * SECOND, 0)
        await asyncio.sleep(10)
        assert told.words == ["wake at 3"], "whoever is woken sets the next alarm"
        assert told.turns.stirred

    simulate(main())


def test_a_date_in_the_past_is_not_waited_for_in_a_busy_loop() -> None:
    async def main() -> None:
        told = Told()
        told.turns.set_alarm(0, 60 * SECOND)
        await asyncio.sleep(1)
        assert told.words == ["wake at 0.001"]

    simulate(main())


def test_a_run_that_is_over_takes_no_turn() -> None:
    async def main() -> None:
        told = Told(Turns.close)
        told.turns.set_alarm(5 * SECOND, 0)
        told.turns.schedule()
        told.turns.take()
        await asyncio.sleep(10)
        assert told.words == ["step", "done"]

    simulate(main())
