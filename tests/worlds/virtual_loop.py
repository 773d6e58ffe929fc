"""Own the loop whose time jumps: an ordinary asyncio loop that goes to the next timer when nothing is ready."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")
SPINNING = 50
"""Turns of the loop without a pause, from which on each takes time."""
SPIN_SECONDS = 0.0005
"""How much longer each of them takes than the one before: who spins for long is not to be run through every turn."""


class _Selector(selectors.DefaultSelector):
    """Never sleeps while nothing outside can happen: it moves the loop's clock instead."""

    loop: VirtualLoop
    busy = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            self.busy += 1
            if self.busy > SPINNING:  # a body that spins: time goes by all the same
                self.loop.seconds += SPIN_SECONDS * (self.busy - SPINNING)
            return ready
        self.busy = 0
        if self.loop.outside:
            return super().select(0.001)
        if timeout is None:
            raise RuntimeError("the simulation is stuck: nothing is ready and no timer is set")
        self.loop.seconds += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`outside` counts what runs in real time (threads, processes): while it is not 0 the clock stands still."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock` is what bodies measure their slices by; by default the loop's own time."""
        self.clock = clock or self.time
        self.seconds = 0.0
        self.outside = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds


def interrupting(draw: random.Random) -> Callable[[], float]:
    """Return a clock that ends the slice of a body at any moment, about every third time that it looks."""
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += draw.choice([0, 0, 1])
        return seconds

    return clock


def simulate(main: Coroutine[Any, Any, R], *, clock: Callable[[], float] | None = None) -> R:
    """Run `main` on a loop with virtual time.

    `clock` is what bodies measure their slices by; without one no slice ever ends, however slow the machine is.
    """
    loop = VirtualLoop(clock)
    try:
        return loop.run_until_complete(main)
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.wait(pending))
        loop.close()
