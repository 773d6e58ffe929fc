"""Own `TaskRun`: a try of a task as the task itself sees it, and how it finds it."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import Any, TypeVar

from aiki.core.errors import UsageError
from aiki.inside.pulse import Pulse
from aiki.payload.details import decode_details, encode_details

T = TypeVar("T")


class TaskRun:
    """A try of a task as the task itself sees it. Whatever it is asked for may be asked in any thread of the task's."""

    __slots__ = ("_before", "_origin_id", "_pulse", "_shared", "attempt", "key", "run_id")

    def __init__(
        self, *, run_id: str, origin_id: str, key: str, attempt: int, pulse: Pulse, shared: Any = None
    ) -> None:
        self.run_id = run_id
        self.key = key
        self.attempt = attempt
        self._origin_id = origin_id
        self._pulse = pulse
        self._before = pulse.details
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

    @property
    def cancelled(self) -> bool:
        """Whether this try has been given up: its call was abandoned, it took too long, or its worker lost the run.

        A coroutine gets CancelledError as well; a function in a thread has this, and the next `heartbeat`.
        """
        return self._pulse.cancelled

    @property
    def heartbeat_details(self) -> Any:
        """What the tries before this one have last said of how far they had come, also after a crash; None if nothing.

        At most the last second of it is lost with a worker that dies.
        """
        return None if self._before is None else decode_details(self._before)

    def heartbeat(self, details: Any = None) -> None:
        """Say that the try lives, and how far it has come: JSON of at most 16 KiB, for the next try.

        It costs little, and may be said as often as one likes. Without `details` those of before stand. Raises
        PayloadError if they cannot be stored, and TaskCancelled, once, in a plain function that has been given up.
        """
        self._pulse.beat(None if details is None else encode_details(details))


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
