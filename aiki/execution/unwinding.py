"""Own how a body leaves memory: its coroutines are closed, newest branch first, and nothing durable can happen.

`finally` blocks run (GeneratorExit passes through them). A coroutine that swallows BaseException in a loop cannot be
closed; it is kept alive for ever rather than left to the garbage collector, which would complain, and its line is told.
Before Python 3.13 an async generator that is awaiting cannot be closed from outside: its `finally` does not run then.
"""

from __future__ import annotations

from asyncio import Future, Task
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Collection, Iterator
from itertools import islice
from types import FrameType
from typing import Any, Final

from aiki.core.frames import Place, is_users, place_of
from aiki.execution.loop import RunLoop

_TRIES: Final = 4
_REFUSALS: Final = 5
_HANDLES: Final = 20_000
_stubborn: list[Any] = []
"""Coroutines that cannot be closed."""


class Unwinding:
    """The end of one body in memory."""

    __slots__ = ("_loop", "begun")

    def __init__(self, loop: RunLoop) -> None:
        self._loop = loop
        self.begun = 0
        """0 while the body lives; then 1 + the durable calls that a `finally` block has tried since."""

    def begin(self) -> None:
        """From now on nothing durable can happen."""
        self.begun = 1

    def refuse(self) -> Any:
        """Keep a body that is being unwound from a durable call.

        GeneratorExit is raised first, since `finally` blocks then end; one that goes on asking gets a future that never
        comes: close() then fails, and its line is told.
        """
        self.begun += 1
        if self.begun > _REFUSALS:
            return Future(loop=self._loop)
        raise GeneratorExit

    def unwind(self) -> list[str]:
        """Close every coroutine of the body and make its loop inert; return the lines of those that refused."""
        loop = self._loop
        refused: list[str] = []
        if not loop.ready and all(task.done() for task in loop.tasks):
            loop.kill()
            return refused
        with loop.stepping:
            for task in reversed(loop.tasks):
                if not task.done():
                    refused += self._close(task)
            # Each asyncio task still has to end. Its coroutine is closed, so no frame of the user's runs any more, but
            # callbacks do, such as anyio's bookkeeping.
            loop.dead = True
            for task in list(loop.tasks):
                if not task.done():
                    task.cancel()
            try:
                loop.run_ready(_HANDLES)
            finally:
                for task in loop.tasks:
                    if task.done() and not task.cancelled():
                        task.exception()  # marks it as seen: nobody is left to read it
                loop.kill()
        return refused

    def _close(self, task: Task[Any]) -> list[str]:
        """Close the task's coroutine and those it awaits; return the lines of those that will not close.

        Closing the outermost closes them all, unless an inner one refuses: the outer ones then end, and it stays.
        """
        lines = []
        for coroutine in list(_chain(task.get_coro())):
            if hasattr(coroutine, "close") and not any(self._closes(task, coroutine) for _ in range(_TRIES)):
                _stubborn.append(coroutine)
                lines.append(_innermost_line(coroutine))
        return lines

    def _closes(self, task: Task[Any], coroutine: Any) -> bool:
        self.begun = 1
        _enter_task(self._loop, task)
        try:
            coroutine.close()
        except RuntimeError as error:
            return "ignored GeneratorExit" not in str(error)
        except BaseException:  # noqa: BLE001 - what a `finally` raises while its run leaves has no reader
            return True
        finally:
            _leave_task(self._loop, task)
        return True


def waiting_lines(loop: RunLoop, most: int | None = None) -> list[str]:
    """Return where each task that has not ended waits: `file:line in function` of the user's innermost line.

    With `most` no more tasks are looked at.
    """
    waiting = (task for task in loop.tasks if not task.done())
    return list(dict.fromkeys(_line_of(task) for task in islice(waiting, most)))


def waiting_places(loop: RunLoop, futures: Collection[Future[Any]] = ()) -> list[Place]:
    """Return where the tasks wait that have not ended, each in the user's innermost line; of one of `futures` alone."""
    waiting = (task for task in loop.tasks if not task.done())
    if futures:
        waiting = (task for task in waiting if any(getattr(task, "_fut_waiter", None) is one for one in futures))
    return [place for task in waiting if (place := _innermost(task.get_coro())) is not None]


def waiting_frames(loop: RunLoop) -> list[list[FrameType]]:
    """Return of each task that has not ended the frames of its coroutines that wait, outermost first."""
    chains = [_chain(task.get_coro()) for task in loop.tasks if not task.done()]
    return [[frame for awaited in chain if (frame := _frame_of(awaited)) is not None] for chain in chains]


def _line_of(task: Task[Any]) -> str:
    return _innermost_line(task.get_coro())


def _innermost_line(coroutine: Any) -> str:
    """Return where the coroutine waits: the innermost frame of the user's."""
    # A branch may be nothing but the library's own, such as `create_task(event.wait())`: then its name must do.
    return str(_innermost(coroutine) or f"{getattr(coroutine, '__qualname__', 'unknown')}()")


def _innermost(coroutine: Any) -> Place | None:
    frames = (frame for awaited in _chain(coroutine) if (frame := _frame_of(awaited)) is not None)
    theirs = [frame for frame in frames if is_users(frame.f_code.co_filename)]
    return place_of(theirs[-1]) if theirs else None


def _frame_of(awaited: Any) -> FrameType | None:
    frames = (getattr(awaited, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
    return next((frame for frame in frames if frame is not None), None)


def _chain(awaited: Any) -> Iterator[Any]:
    """Yield what awaits what, outermost first."""
    while awaited is not None:
        yield awaited
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
