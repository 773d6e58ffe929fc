"""Own `TaskRun`: a try of a task as the task itself sees it, and how it finds it."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import Any, TypeVar

from aiki.core.errors import UsageError

T = TypeVar("T")


class TaskRun:
    """A try of a task as the task itself sees it."""

    __slots__ = ("_origin_id", "_shared", "attempt", "key", "run_id")

    def __init__(self, *, run_id: str, origin_id: str, key: str, attempt: int, shared: Any = None) -> None:
        self.run_id = run_id
        self.key = key
        self.attempt = attempt
        self._origin_id = origin_id
        self._shared = shared

    def shared(self, kind: type[T], /) -> T:
        """Return what the worker's lifespan made for its tasks. Raises UsageError if that is no `kind`.

        A task in a thread may use of it what is safe in threads; one with `executor="process"` has nothing.
        """
        if isinstance(self._shared, kind):
            return self._shared
        found = "nothing" if self._shared is None else f"a {type(self._shared).__name__}"
        raise UsageError(
            f"this task shares {found}, and no {kind.__name__}",
            hint="Worker(lifespan=...), or `worker: {lifespan: ...}` in aiki.yaml, makes what tasks share; "
            'a task with executor="process" has a process of its own',
        )

    @property
    def idempotency_key(self) -> str:
        """A key for services that refuse doubles: the same over attempts, crashes and retries of the run."""
        return hashlib.blake2b(f"{self._origin_id}:0:{self.key}".encode(), digest_size=16).hexdigest()


_task_run: ContextVar[TaskRun] = ContextVar("aiki_task_run")


def task_run() -> TaskRun:
    """Return what the running task is told about itself. Raises UsageError outside of a task."""
    try:
        return _task_run.get()
    except LookupError:
        raise UsageError("task_run() is for the inside of a task that a run started") from None


def enter_task(run: TaskRun) -> None:
    """Make `run` what `task_run()` returns in the current context."""
    _task_run.set(run)
