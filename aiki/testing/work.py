"""Own what is tried in real time: each task that runs, since when, and the line where it is.

The clock of a test stands still while a task runs, so one that hangs would hang the test: here its line is found.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, TypeVar

from aiki.core.frames import is_users, users_lines, written_at
from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow
from aiki.inside.task_run import TaskRun, task_run

Declared = TypeVar("Declared", Task[..., Any], Workflow[..., Any])
_OUTERMOST: Final = __file__


@dataclass(eq=False, slots=True)
class Try:
    """A task that runs now."""

    task: Task[..., Any]
    run: TaskRun
    since: float
    """By `time.monotonic`."""
    frame: Callable[[], FrameType | None]
    """Returns the frame that it is at."""

    def where(self) -> str:
        """Return `file:line in function`, the user's innermost."""
        line = next(users_lines(self.frame(), outermost=_OUTERMOST), None)
        return line or f"{written_at(self.task.fn)} in {self.task.name}"


class Work:
    """All tries that run for one test. Threads add theirs, too."""

    def __init__(self) -> None:
        self._tries: dict[Try, None] = {}
        self.asleep = 0
        """Tries that wait for the test's clock: mocks that take their time."""

    def longest(self) -> Try | None:
        """Return the one that has run for longest; None if none runs in real time.

        One that was told to end comes last: a thread that was given up goes on, and nobody waits for it.
        """
        tries = list(self._tries.copy())
        return next((one for one in tries if not one.run.cancelled), tries[0] if tries else None)

    def watched(self, task: Task[..., Any]) -> Task[..., Any]:
        """Return what does the same as a task, and is watched: a plain function in a thread, whatever it says."""
        made = like(task, self._coroutine(task) if task.is_async else self._function(task))
        made.executor = "thread"
        return made

    async def watching(self, task: Task[..., Any], work: Coroutine[Any, Any, Any]) -> Any:
        """Await what is tried as a task."""
        with self._trying(task, lambda: _innermost(work)):
            return await work

    @contextmanager
    def _trying(self, task: Task[..., Any], frame: Callable[[], FrameType | None]) -> Iterator[None]:
        trying = Try(task, task_run(), time.monotonic(), frame)
        self._tries[trying] = None
        try:
            yield
        finally:
            del self._tries[trying]

    def _coroutine(self, task: Task[..., Any]) -> Callable[..., Any]:
        async def tried(*args: Any, **kwargs: Any) -> Any:
            return await self.watching(task, task.fn(*args, **kwargs))

        return tried

    def _function(self, task: Task[..., Any]) -> Callable[..., Any]:
        def tried(*args: Any, **kwargs: Any) -> Any:
            thread = threading.get_ident()
            with self._trying(task, lambda: sys._current_frames().get(thread)):  # noqa: SLF001 - documented for this
                return task.fn(*args, **kwargs)

        return tried


async def in_thread(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in a thread of its own, which nobody waits for at the end: it may hang."""
    loop, context = asyncio.get_running_loop(), copy_context()
    over: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def call() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = context.run(fn, *args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is awaited
            outcome = None, error
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            loop.call_soon_threadsafe(_settle, over, outcome)

    threading.Thread(target=call, name="aiki-mocked", daemon=True).start()
    result, error = await over
    if error is not None:
        raise error
    return result


def _settle(over: asyncio.Future[Any], outcome: Any) -> None:
    if not over.done():
        over.set_result(outcome)


def like(of: Declared, fn: Callable[..., Any]) -> Declared:
    """Return a task or workflow that is the same but for its function."""
    made = object.__new__(type(of))
    made.__dict__.update(of.__dict__)
    made.fn = fn
    return made


def _innermost(work: Coroutine[Any, Any, Any]) -> FrameType | None:
    """Return the user's frame furthest in of a coroutine that waits."""
    found: FrameType | None = None
    here: Any = work
    while isinstance(frame := getattr(here, "cr_frame", None), FrameType):
        found = frame if found is None or is_users(frame.f_code.co_filename) else found
        here = here.cr_await
    return found
