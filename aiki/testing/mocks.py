"""Own what stands in for a task, or for the body of a workflow: what it answers, and what it was called with."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, Self, TypeVar

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import PayloadError, UsageError
from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow
from aiki.inside.workflow_run import WorkflowRun
from aiki.testing.work import Work, in_thread, like

R = TypeVar("R")


@dataclass(slots=True)
class _Step:
    """What some calls, one after the other, come to."""

    do: Callable[..., Any]
    left: int | None = None
    """How many calls; None for all that come."""
    is_last_value: bool = False
    """Whether it is the last of some values, which goes on if nothing follows it."""


class Mock(Generic[R]):
    """What is tried in the place of a task, or run as a workflow. What it is told comes to pass in that order.

    Each comes at a call of its own, of a workflow at a run. If nothing is left for one, the task itself is tried. Each
    word returns the mock: `mock.fails(...).returns(1)`.
    """

    # So that nothing else can be set on it by mistake.
    __slots__ = (*("_of", "_runs", "_sleep", "_steps", "_takes", "_work"), "calls")

    def __init__(
        self, of: Task[..., R] | Workflow[..., R], work: Work, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """`work` is told what runs in real time; `sleep` returns when the clock has gone on by so many seconds."""
        self._of = of
        self._work = work
        self.calls: list[dict[str, Any]] = []
        """The arguments of each call by name, those that were left out with their defaults; of each try, in order."""
        self._sleep = sleep
        self._steps: list[_Step] = []
        self._runs: dict[tuple[str, int, int], _Step | None] = {}
        """What runs came to, of a workflow: a body that begins again goes the same way."""
        self._takes = 0.0

    def __repr__(self) -> str:
        return f"<mock of {'task' if isinstance(self._of, Task) else 'workflow'} {self._of.name}>"

    def returns(self, *values: R) -> Self:
        """Answer each call with the next of these; the last one again and again if nothing follows.

        Raises UsageError if one is not what the task returns.
        """
        if not values:
            raise UsageError(f"{self!r}: returns() without a value", hint="env.mock(task).returns(value)")
        for value in values:
            self._check(value)
            self._add(partial(_return, value), 1)
        self._steps[-1].is_last_value = True
        return self

    def fails(self, error: Exception, /, *, times: int | None = None) -> Self:
        """Raise the error, at so many calls, or at all. A retry of the task is a call, too.

        Raises UsageError if it is no exception, or if it is not to be raised at all.
        """
        if not isinstance(error, Exception):
            raise UsageError(f"{self!r}: fails() takes an exception, not {error!r}", hint="fails(TimeoutError())")
        if times is not None and (type(times) is not int or times < 1):
            raise UsageError(f"{self!r}: fails(times={times!r}): it is how many calls fail, from 1", hint="times=2")
        self._add(partial(_fail, error), times)
        return self

    def runs(self, function: Callable[..., Any], /) -> Self:
        """Have a function, plain or `async def`, answer all calls, with the arguments of the task."""
        if not callable(function):
            raise UsageError(f"{self!r}: runs() takes a function, not {function!r}", hint="runs(lambda order: ...)")
        self._add(function, None)
        return self

    def takes(self, duration: Duration, /) -> Self:
        """Have each call last so long by the test's clock, so that a timeout can come first."""
        self._takes = to_seconds(duration)
        return self

    # -- for the test's environment

    def forgotten(self) -> str | None:
        """Return what of it never came to pass, in words; None if all did."""
        if not self.calls:
            return f"{self!r} was never called"
        left = [step for step in self._steps if step.left and not step.is_last_value]
        return f"{self!r} was called {len(self.calls)} times, and was told more" if left else None

    def stand_in(self, real: Task[..., Any]) -> Task[..., Any]:
        """Return what is tried in the place of a task: a coroutine, which runs the task itself if nothing is left."""
        made = like(real, self._tried(real))
        made.is_async = True
        return made

    def body_of(self, workflow: Workflow[..., Any]) -> Workflow[..., Any]:
        """Return what is run in the place of a workflow."""

        async def body(run: WorkflowRun, *args: Any, **kwargs: Any) -> Any:
            life = (run.run_id, run.generation, run.attempt)
            if life not in self._runs:
                self.calls.append(self._named((run, *args), kwargs))
                self._runs[life] = self._next()
            if self._takes:
                await run.sleep(timedelta(seconds=self._takes))
            step = self._runs[life]
            answer = workflow.fn(run, *args, **kwargs) if step is None else step.do(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer

        return like(workflow, body)

    # -- private

    def _tried(self, real: Task[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def tried(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(self._named(args, kwargs))
            step = self._next()
            if self._takes:
                await self._sleep(self._takes)
            if step is None and not real.is_async:
                return await in_thread(real.fn, *args, **kwargs)
            answer = (real.fn if step is None else step.do)(*args, **kwargs)
            return await self._work.watching(real, answer) if inspect.iscoroutine(answer) else answer

        return tried

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = inspect.signature(self._of.fn).bind(*args, **kwargs)
        bound.apply_defaults()
        named = dict(bound.arguments)
        if isinstance(self._of, Workflow):
            del named[next(iter(named))]  # the run
        return named

    def _next(self) -> _Step | None:
        while self._steps and self._steps[0].left == 0:
            del self._steps[0]
        if not self._steps:
            return None
        step = self._steps[0]
        if step.left is not None and not (step.is_last_value and len(self._steps) == 1):
            step.left -= 1
        return step

    def _add(self, do: Callable[..., Any], left: int | None) -> None:
        if self._steps and self._steps[-1].left is None:
            raise UsageError(f"{self!r} was told before what all its calls come to: nothing comes after that")
        self._steps.append(_Step(do, left))

    def _check(self, value: R) -> None:
        try:
            self._of.result.encode(value)
        except PayloadError as error:
            raise UsageError(f"{self!r} cannot return {value!r}: {error.message}") from None


def _return(value: R, *_args: Any, **_kwargs: Any) -> R:
    return value


def _fail(error: Exception, *_args: Any, **_kwargs: Any) -> Any:
    raise error.with_traceback(None)
