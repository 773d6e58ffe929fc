"""Own the thread that names the line of a workflow body that blocks the worker's loop.

One thread per process looks at what is being stepped every few tens of milliseconds; a step that is still the same
for too long is logged once, with the innermost line of the user's code. It ends when nothing was stepped for a while.
A body that does not block and never rests is told of as well, by the steps themselves.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiki.core.frames import users_lines

_logger = logging.getLogger("aiki.execution")
_IDLE_SECONDS: Final = 5.0
_SPINNING_SECONDS: Final = 3.0
_OUTERMOST: Final = str(Path(__file__).with_name("body.py"))
"""Where a step begins: what is further out is the worker's."""


class Step:
    """One run being stepped in a thread."""

    __slots__ = ("limit", "run_id", "spinning_from", "started", "thread")

    def __init__(self, run_id: str, limit: float) -> None:
        self.run_id = run_id
        self.limit = limit
        self.thread = 0
        self.started = 0.0
        self.spinning_from = 0.0
        """Since when the body has not come to rest; 0 if it has."""

    def paused(self, lines: Callable[[], list[str]], *, more: bool) -> None:
        """Take note that a step is over, and whether the body wants `more`; tell once of one that never rests.

        Nothing of it is wrong, others get their turns, and yet it keeps a core busy for nothing. `lines` tells where.
        """
        now = time.perf_counter()
        if not more:
            self.spinning_from = 0.0
        elif not self.spinning_from:
            self.spinning_from = now
        elif now - self.spinning_from > _SPINNING_SECONDS:
            self.spinning_from = math.inf
            _logger.warning(
                "run %s: its workflow body has gone round for %g s without rest at %s; await a task or run.sleep()",
                self.run_id,
                _SPINNING_SECONDS,
                "; ".join(lines()),
            )


class Watchdog:
    """Watches the steps of one worker thread, one at a time."""

    def __init__(self) -> None:
        self._current: Step | None = None
        self._lock = threading.Lock()
        self._running = False
        self._last = 0.0
        self._limit = 0.1
        """The shortest one that was asked for since the thread began: it looks twice as often."""
        self._shortened = threading.Event()

    def begin(self, step: Step) -> None:
        """Say that `step` begins in this thread."""
        step.started = self._last = time.perf_counter()
        step.thread = threading.get_ident()
        self._current = step
        if not self._running or step.limit < self._limit:
            self._look_by(step.limit)

    def end(self) -> None:
        """Say that it is over."""
        self._current = None

    def _look_by(self, limit: float) -> None:
        with self._lock:
            self._limit = limit
            self._shortened.set()
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="aiki-watchdog", daemon=True).start()

    def _watch(self) -> None:
        told = 0.0
        while True:
            if self._shortened.wait(self._limit / 2):
                self._shortened.clear()
            step = self._current
            now = time.perf_counter()
            if step is None:
                if now - self._last > _IDLE_SECONDS:
                    self._running = False
                    return
            elif now - step.started > step.limit and step.started != told:
                told = step.started
                self._tell(step, now - told)

    def _tell(self, step: Step, seconds: float) -> None:
        frame = sys._current_frames().get(step.thread)  # noqa: SLF001 - documented for this very use
        line = next(users_lines(frame, outermost=_OUTERMOST), None)
        if self._current is step and line is not None:
            _logger.warning(
                "run %s: its workflow body has blocked the worker for %.0f ms at %s; move this into a task",
                step.run_id,
                seconds * 1000,
                line,
            )


watchdog: Final = Watchdog()
