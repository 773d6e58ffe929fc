"""Own what a body does wrong without failing by it: what it calls and never awaits, failures that nobody sees, I/O.

Each is logged with its line when it is found, if the body does then what it has not done before. (A branch's failure is
nobody's only when nobody can look at it any more, which is often the body's end.) In the run's history it is the reason
of the run's end, and nothing else: the claim that ends a run has gone through the whole body, replayed or not, so it
alone knows every fault of it; a line for each, written when it is found, would come again with each claim that replays,
or need an entry that replay must find. So it costs a run without faults nothing, on the way and at the end. What a run
that never ends does wrong stands in its workers' logs alone.

Python tells of a coroutine that was never awaited when it is dropped, by a function of `warnings` that has no public
name. It is wrapped, where Python has it: in a body, whose durable call would silently not have happened, it is a fault;
elsewhere, and while a run leaves memory with what it had still to await, nothing changes and nothing is said. What a
body drops when one of its functions has returned has no line any more; then the innermost line that goes on is named.
"""

from __future__ import annotations

import sys
import warnings
from asyncio import _get_running_loop
from collections.abc import Callable, Iterable, Set
from types import CodeType, CoroutineType
from typing import Any, Final

from aiki.core.errors import UsageError
from aiki.core.frames import is_users, line_in, users_last_line, users_lines
from aiki.definitions.task import Task
from aiki.execution.failures import failure_of
from aiki.execution.loop import RunLoop, RunTask
from aiki.inside.workflow_run import WorkflowRun

KEPT: Final = 10
"""Faults of one body that are told; one that goes wrong in a loop does so for ever."""
_TEXT_CHARS: Final = 300


class Faults:
    """The faults of one body, each once. `tell` logs one: what is wrong, and more for who looks into it."""

    __slots__ = ("_found", "_tell")

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._found: dict[str, None] | None = None
        self._tell = tell

    def add(self, fault: str, details: str = "", *, silent: bool) -> None:
        """Keep a fault and, unless it was known or is to be `silent`, log it."""
        found = self._found = {} if self._found is None else self._found
        if fault not in found and len(found) < KEPT:
            found[fault] = None
            if not silent:
                self._tell(fault, details)

    def add_undeclared(self, waited: Iterable[str], known: Set[str]) -> None:
        """Keep, of the events that are `waited` for, those that nobody can send: the workflow knows others alone."""
        for name in waited:
            if name not in known:
                fault = f"it waits for event {name!r}, which nobody can send: add it to events=[...] of its workflow"
                self.add(fault, silent=False)

    def __str__(self) -> str:
        return "; ".join(self._found or ())

    def __bool__(self) -> bool:
        return self._found is not None


def of_context(context: dict[str, Any]) -> tuple[str, str]:
    """Return what asyncio tells a loop's exception handler, as a fault and its details."""
    message = str(context.get("message") or "an exception that nobody awaits")
    error = context.get("exception")
    if not isinstance(error, BaseException):
        return message, ""
    task = context.get("task") or context.get("future")
    if isinstance(task, RunTask):
        message = f"the branch {_place(task, error)} failed and nobody awaited it"
    failure = failure_of(error)
    text = f"{failure.type}: {failure.message}"
    return (
        f"{message}: {text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + '…'}",
        failure.traceback.rstrip(),
    )


def tell_unseen(loop: RunLoop) -> None:
    """Tell the loop's owner what branches raised that nobody awaited: it holds its tasks, so asyncio does not."""
    for task in loop.tasks:
        if task.done() and not task.cancelled() and getattr(task, "_log_traceback", False):
            loop.call_exception_handler({"task": task, "exception": task.exception()})


def mark_as_seen(loop: RunLoop, error: BaseException) -> None:
    """Have nobody told of the branch that ended with this: the run's failure tells it."""
    for task in loop.tasks:
        if task.done() and getattr(task, "_exception", None) is error:
            task.exception()


def tell_unmade(loop: RunLoop, asked: Iterable[str]) -> None:
    """Tell the loop's owner which calls its body `asked` for last and did not await: nothing came of them."""
    for call in asked:
        loop.call_exception_handler({"message": f"the body ended without awaiting {call}: it was not made"})


def _place(task: RunTask, error: BaseException) -> str:
    """Return the branch's name with the line that has made it, or else with the user's line where it broke."""
    name = getattr(task.get_coro(), "__qualname__", "?")
    if task.made_at is not None and is_users(task.made_at[0].co_filename):
        code, instruction = task.made_at
        return f"{name}() made at {line_in(code, _line(code, instruction))}"
    line = users_last_line(error)
    return f"{name}() that broke at {line}" if line else f"{name}()"


def _line(code: CodeType, instruction: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= instruction < end), None)


# -- what is never awaited


def unawaited(result: Any) -> UsageError | None:
    """Return the error of a body that returned a coroutine, which is closed, in place of what it would come to."""
    if not isinstance(result, CoroutineType):
        return None
    message = f"the body returned a coroutine: {_called(result)}"
    result.close()
    return UsageError(message, hint="return await ...")


_warn: Final[Any] = vars(warnings).get("_warn_unawaited_coroutine")


def _tell_unawaited(coroutine: CoroutineType[Any, Any, Any]) -> None:
    loop = _get_running_loop()
    if not isinstance(loop, RunLoop) or _belongs_elsewhere(coroutine, loop):
        _warn(coroutine)
        return
    frame = sys._getframe(1)  # noqa: SLF001 - documented for this very use
    line = next(users_lines(frame, outermost=RunLoop.run_ready.__code__), "an unknown line")
    loop.call_exception_handler({"message": f"{_called(coroutine)} at {line}"})


def _belongs_elsewhere(coroutine: CoroutineType[Any, Any, Any], loop: RunLoop) -> bool:
    """Tell whether it is of another run: the garbage collector comes by whenever it likes."""
    run = next((value for value in _arguments(coroutine) if isinstance(value, WorkflowRun)), None)
    return run is not None and run is not loop.workflow_run


def _called(coroutine: CoroutineType[Any, Any, Any]) -> str:
    task = next((value for value in _arguments(coroutine) if isinstance(value, Task)), None)
    if task is None:
        name = coroutine.__qualname__
        return f"{name}() was called and never awaited, so it did nothing: write `await`"
    name = getattr(task.fn, "__name__", task.name)
    return f"task {task.name!r} was called and never awaited, so it did not run: write `await {name}.run(run, ...)`"


def _arguments(coroutine: CoroutineType[Any, Any, Any]) -> tuple[Any, ...]:
    frame = coroutine.cr_frame
    return () if frame is None else tuple(frame.f_locals.values())


if _warn is not None:
    vars(warnings)["_warn_unawaited_coroutine"] = _tell_unawaited
