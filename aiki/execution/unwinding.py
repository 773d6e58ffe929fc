"""Own how a body leaves memory: its coroutines are closed, newest branch first, and nothing durable can happen.

`finally` blocks run (GeneratorExit passes through them). A coroutine that swallows BaseException in a loop cannot be
closed; it is kept alive for ever rather than left to the garbage collector, which would complain, and its line is told.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from aiki.execution.loop import RunLoop, Stepping

if TYPE_CHECKING:
    from aiki.execution.body import Body

_TRIES: Final = 4
_HANDLES: Final = 20_000
_stubborn: list[Any] = []
"""Coroutines that cannot be closed."""


def unwind(body: Body) -> list[str]:
    """Close every coroutine of the body and make its loop inert; return the lines of those that refused."""
    loop = body.loop
    refused = []
    with Stepping(loop):
        for task in reversed(loop.tasks):
            if not task.done() and not _close(body, task):
                refused.append(_line_of(task))
                _stubborn.append(task.get_coro())
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


def waiting_lines(loop: RunLoop) -> list[str]:
    """Return `file:line in function` for the innermost line of the user's code in each task that has not ended."""
    return [_line_of(task) for task in loop.tasks if not task.done()]


def _close(body: Body, task: asyncio.Task[Any]) -> bool:
    coro: Any = task.get_coro()
    for _ in range(_TRIES):
        body.leaving = 1
        _enter_task(body.loop, task)
        try:
            coro.close()
        except RuntimeError as error:
            if "ignored GeneratorExit" in str(error):
                continue
        except BaseException:  # noqa: BLE001, S110 - what a `finally` raises while its run leaves has no reader
            pass
        finally:
            _leave_task(body.loop, task)
        return True
    return False


def _line_of(task: asyncio.Task[Any]) -> str:
    """Return where the task waits: the innermost frame that is neither asyncio's nor ours."""
    best = "unknown"
    for code, line in _frames(task.get_coro()):
        if not is_internal(code.co_filename):
            best = f"{code.co_filename}:{line} in {code.co_name}"
    return best


def _frames(awaited: Any) -> Iterator[tuple[CodeType, int]]:
    """Yield code and line of each coroutine or generator in the chain of awaits, outermost first."""
    while awaited is not None:
        frame: FrameType | None = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            frame = getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def is_internal(filename: str) -> bool:
    """Tell whether the file belongs to Aiki's execution, asyncio or anyio rather than to the user."""
    return filename.startswith(_INTERNAL)


def _folder(module: Any) -> str:
    return str(module.__file__).rsplit("__init__", 1)[0]


def _internal_folders() -> tuple[str, ...]:
    import anyio

    own = __file__.rsplit("execution", 1)[0]
    return (_folder(asyncio), _folder(anyio), own, "<frozen")


_INTERNAL: Final = _internal_folders()
