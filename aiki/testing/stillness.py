"""Own how it is told that nothing moves any more, so that the clock may go on: by what is counted, never by a pause.

Calm is where nothing is to run soon, whatever tasks still run. Still is where no task runs either, but for those that
wait for the clock itself. A task that runs for longer than a test's patience is named, with its line.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiki.core.errors import UsageError, WaitTimeout
from aiki.testing.clock import ClockLoop
from aiki.testing.host import Host
from aiki.testing.work import Work

_TURNS: Final = 4
"""Turns of the loop in which nothing may happen: a task that begins takes one, what a test does meanwhile others."""
_ROUND_SECONDS: Final = 1.0
"""How long at least bodies may go on with nothing to record."""
_LOOK_SECONDS: Final = 0.05
"""How often to look at the tasks that run, while nothing else happens."""


class StillWaiting(UsageError, WaitTimeout):
    """What a test waits for does not come by itself: the clock stands, or a task hangs."""


class Stillness:
    """The look at one test: its loop, its worker, and the tasks that run."""

    def __init__(self, loop: ClockLoop, host: Host, work: Work, patience: float) -> None:
        """`patience` is in seconds of real time."""
        self._loop = loop
        self._host = host
        self._work = work
        self.patience = patience

    async def calm(self) -> None:
        """Return when nothing is to run soon. Raises StillWaiting if a body goes round without rest."""
        loop, host = self._loop, self._host
        turns, recorded, since = 0, host.recorded, time.monotonic()
        while turns < _TURNS:
            seen = loop.moves
            await asyncio.sleep(0)
            turns = turns + 1 if loop.moves == seen and not loop.pending else 0
            if host.recorded != recorded:
                recorded, since = host.recorded, time.monotonic()
            elif turns == 0 and time.monotonic() - since > max(self.patience, _ROUND_SECONDS):
                raise StillWaiting(
                    "a body goes round without a rest, a task or anything else to record: the test's clock stands still"
                    " meanwhile",
                    hint="await run.sleep(...), or a task, in each round of its loop",
                )
        if loop.broken is not None:
            raise loop.broken

    async def still(self) -> None:
        """Return when no task runs either. Raises StillWaiting if one has run for too long."""
        await self.calm()
        began = time.monotonic()
        while self._host.trying > self._work.asleep:
            self._check(began)
            await self._moved()
            await self.calm()

    async def _moved(self) -> None:
        """Return when something has run, or after a while."""
        moved = asyncio.get_running_loop().create_future()
        self._loop.on_move = moved
        try:
            await asyncio.wait([moved], timeout=_LOOK_SECONDS)
        finally:
            self._loop.on_move = None

    def _check(self, began: float) -> None:
        now, longest = time.monotonic(), self._work.longest()
        if longest is None and now - began > self.patience:
            raise StillWaiting(f"a task has not begun for {self.patience:g} s of real time: all threads are taken")
        if longest is not None and (seconds := now - longest.since) > self.patience:
            raise StillWaiting(
                f"task {longest.task.name!r} of run {longest.run.run_id} has run for {seconds:.1f} s of real time, at"
                f" {longest.where()}: the test's clock stands still meanwhile",
                hint=f'env.mock({longest.task.name}).returns(...), or TestEnv(patience="30s")',
            )
