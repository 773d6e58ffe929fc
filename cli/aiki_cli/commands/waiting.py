"""Own the waiting for runs, however many: what comes of each is told as it comes.

A run's end is pushed, but whoever wants it holds a place for it, here and at the daemon. So there are only so many
places: a run that does not end in its turn gives its place up to the next, as long as others want one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiki import (
    NotFound,
    Overloaded,
    PayloadError,
    RunBlocked,
    RunCancelled,
    RunFailed,
    Unavailable,
    WaitTimeout,
)
from aiki_cli import exits

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.view.outcomes import Outcome

PLACES: Final = 5_000
"""Runs that are waited for at once: the client asks for each again every five seconds, lest a push is lost."""
TURN_SECONDS: Final = 5.0
LOOKED_AT: Final = 500
"""Runs that are read at once when time is up."""
_UNTOLD: Final = 100
"""Ends that may wait to be told: a result can be large."""
_ANSWER_SECONDS: Final = 5.0
"""How long the answer may take of a run that is known to have ended."""
_OUTCOMES: Final = (RunFailed, RunCancelled, RunBlocked, PayloadError, NotFound)


async def outcomes(client: Client, run_ids: Iterable[str], *, seconds: float | None) -> AsyncGenerator[Outcome, None]:
    """Yield what comes of each run, as it comes; after so many seconds a WaitTimeout of each that goes on."""
    turns = _Turns(client, run_ids, seconds)
    wanted = len(turns.waiting)
    holders = [asyncio.create_task(turns.hold()) for _ in range(min(PLACES, wanted))]
    try:
        for _ in range(wanted):
            told = await turns.told.get()
            if isinstance(told, Exception):
                raise told
            yield told
    finally:
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)


class _Turns:
    """Whose turn it is. No run is lost: what gives up its place is at once among those that wait for one."""

    def __init__(self, client: Client, run_ids: Iterable[str], seconds: float | None) -> None:
        self.waiting = deque(dict.fromkeys(run_ids))
        """Those that hold no place, in the order in which they will."""
        self.told: asyncio.Queue[Outcome | Exception] = asyncio.Queue(_UNTOLD)
        self._client = client
        self._seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds

    async def hold(self) -> None:
        """Hold a place, for one run after the other, until none waits for one."""
        try:
            while self.waiting:
                if self._until is not None and time.monotonic() >= self._until:
                    await self._look_once()
                else:
                    await self._wait(self.waiting.popleft())
        except Exception as error:  # noqa: BLE001 - raised by whoever is told
            await self.told.put(error)

    async def _wait(self, run_id: str) -> None:
        """Wait for a run, until its turn or the time of all is over."""
        turn_ends = time.monotonic() + TURN_SECONDS if self.waiting else None
        ends = min((at for at in (turn_ends, self._until) if at is not None), default=None)
        try:
            result = await self._result(run_id, None if ends is None else max(0.0, ends - time.monotonic()))
        except WaitTimeout:
            if ends == self._until:
                await self._tell_timeout(run_id)
            else:
                self.waiting.append(run_id)
            return
        await self.told.put((run_id, result))

    async def _look_once(self) -> None:
        """Look at runs that hold no place when time is up: they may have ended all the same."""
        looked_at = [self.waiting.popleft() for _ in range(min(LOOKED_AT, len(self.waiting)))]
        settled = await _settled(self._client, looked_at)
        for run_id in looked_at:
            try:
                if run_id not in settled:
                    await self._tell_timeout(run_id)
                else:
                    await self.told.put((run_id, await self._result(run_id, _ANSWER_SECONDS)))
            except WaitTimeout:
                await self._tell_timeout(run_id)

    async def _result(self, run_id: str, seconds: float | None) -> object:
        """Return the run's result, or the error that it came to. Raises WaitTimeout."""
        timeout = None if seconds is None else timedelta(seconds=seconds)
        try:
            return await self._client.handle(run_id).result(timeout=timeout)
        except _OUTCOMES as error:
            return error

    async def _tell_timeout(self, run_id: str) -> None:
        said = f"run {run_id} has not ended within {self._seconds:g} s; it goes on"
        await self.told.put((run_id, WaitTimeout(said, command=f"aiki wait {run_id}")))


async def _settled(client: Client, run_ids: Sequence[str]) -> set[str]:
    """Return those of the runs that have come to something, and those that do not exist; none while nobody answers."""
    try:
        runs = await client.runs.status(run_ids, explain=False)
    except NotFound:
        if len(run_ids) == 1:
            return set(run_ids)
        half = len(run_ids) // 2
        return await _settled(client, run_ids[:half]) | await _settled(client, run_ids[half:])
    except (Unavailable, Overloaded):
        return set()
    return {run_id for run_id, run in zip(run_ids, runs, strict=True) if run.state in exits.BY_STATE}
