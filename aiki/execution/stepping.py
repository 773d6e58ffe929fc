"""Own how a run's loop is made the running one, inside whatever the worker's loop is doing, and how that is undone."""

from __future__ import annotations

import asyncio
import sys
from asyncio import _get_running_loop, _set_running_loop
from asyncio.tasks import _enter_task, _leave_task
from typing import Any

from aiki.execution import generators


class Stepping:
    """The running of one loop.

    A context manager with slots rather than a generator: it is entered for each delivery.
    """

    __slots__ = ("_loop", "_outer", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        generators.watch()
        self._outer = _get_running_loop()
        # From 3.14 on a thread has one current task, not one per loop.
        if sys.version_info >= (3, 14) and self._outer is not None:
            self._task = asyncio.current_task(self._outer)
            if self._task is not None:
                _leave_task(self._outer, self._task)
        _set_running_loop(self._loop)

    def __exit__(self, *_: object) -> None:
        _set_running_loop(self._outer)
        if self._task is not None and self._outer is not None:
            _enter_task(self._outer, self._task)
            self._task = None  # one that is held goes to no other try
