"""Own the judgement that a try is silent: by looks of the worker's loop, never by the time that has gone by.

Each look that finds no sign of life counts for a step of the limit. One that comes late counts for nothing: the loop
was blocked, or the process was stopped, and so the try may have been. Nor does one under an uncertain lease: what is
cut off then could not be tried again here. And the last look lets everything have its turn that was ready before it,
so that a sign which was due by then is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiki.execution.lease import Lease
    from aiki.inside.pulse import Pulse

_LOOKS: Final = 10
"""In the time of a limit, at least."""
_STEP_SECONDS: Final = 1.0
"""Between two looks, at most."""
_LATE_SECONDS: Final = 0.05
"""A look that comes no later is on time, however short the step."""


class Silence:
    """Of one try, from now on."""

    __slots__ = ("_due", "_handle", "_lease", "_limit", "_loop", "_on_silent", "_pulse", "_silent", "_stamp", "_step")

    def __init__(
        self,
        pulse: Pulse,
        seconds: float,
        *,
        loop: asyncio.AbstractEventLoop,
        lease: Lease,
        on_silent: Callable[[float], None],
    ) -> None:
        """`on_silent` is called once, with the limit, after `seconds` without a sign of life."""
        self._pulse = pulse
        self._limit = seconds
        self._loop = loop
        self._lease = lease
        self._on_silent = on_silent
        self._step = min(seconds / _LOOKS, _STEP_SECONDS)
        self._silent = 0.0
        self._stamp = pulse.stamp
        self._wait()

    def stop(self) -> None:
        """Judge no more."""
        self._handle.cancel()

    def _wait(self) -> None:
        self._due = self._loop.time() + self._step
        self._handle: asyncio.Handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._hears():
            self._silent = 0.0
        elif self._loop.time() - self._due <= max(self._step, _LATE_SECONDS) and self._lease.is_certain():
            self._silent += self._step
        if self._silent < self._limit - self._step / 2:
            self._wait()
        else:
            self._handle = self._loop.call_soon(self._judge)

    def _judge(self) -> None:
        if self._hears():
            self._silent = 0.0
            self._wait()
        else:
            self._on_silent(self._limit)

    def _hears(self) -> bool:
        before, self._stamp = self._stamp, self._pulse.stamp
        return before != self._stamp
