"""Own the processes that run `executor="process"` tasks: spawned, used again, and killed at a timeout.

A child imports the module of the task, finds the task by its qualified name, and is told nothing but the JSON of the
arguments and who is running; what comes back is the JSON of the result, or a `Failure`. Nothing is pickled but names
and numbers.
The child cannot see the lease, so it is told until when it may begin, by the clock that both share, and looks there as
the last thing before the body: before, it may have had to start, and to import the task's module.
A child ends with its parent, however that came to its end, and whatever the child is doing then.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from aiki.core.duration import to_seconds
from aiki.core.errors import PayloadError, RetryAfter, UsageError
from aiki.core.retry import Retry
from aiki.execution.failures import failure_of
from aiki.execution.lease import Lease, NotStarted
from aiki.process.parent import end_with
from aiki.run import TaskRun, enter_task
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Failure

if TYPE_CHECKING:
    from aiki.task import Task

_JOIN_SECONDS: Final = 5.0
_OK: Final = b"+"
_FAILED: Final = b"-"
_NOT_STARTED: Final = b"0"
Work = tuple[str, str, bytes, Retry, str, str, str, int]
"""module, qualified name, arguments, retry, run id, origin id, key, attempt"""


class Raised(msgspec.Struct):
    """What was raised in a child, and what its class meant for a retry: the class itself does not come back."""

    failure: Failure
    final: bool
    retry_after: float | None


class ProcessFailure(Exception):
    """A task raised in its process."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(raised.failure.message)
        self.raised = raised


class ProcessDied(Exception):
    """The child ended without an answer: a crash in C code, `os._exit`, or the system was out of memory."""


class Child:
    """One spawned process and the pipe to it."""

    def __init__(self, context: Any) -> None:
        ours, theirs = context.Pipe()
        self._pipe: Connection[Any, Any] = ours
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs,), name="aiki-task", daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, work: Work, lease: Lease) -> bytes:
        """Send the work and wait for its answer. Raises ProcessDied if the child ends instead."""
        try:
            self._pipe.send((work, lease.certain_until))
            return self._pipe.recv_bytes()
        except (EOFError, OSError):
            self._process.join(_JOIN_SECONDS)
            raise ProcessDied(f"the task's process ended with exit code {self._process.exitcode}") from None

    def is_alive(self) -> bool:
        """Tell whether the child runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """Let the child end, and collect it."""
        self._pipe.close()
        self._process.join(_JOIN_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(_JOIN_SECONDS)


class Processes:
    """At most `limit` children, made as they are needed."""

    def __init__(self, limit: int | None = None) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._free = threading.BoundedSemaphore(limit or os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._idle: list[Child] = []

    def close(self) -> None:
        """End the idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()

    def borrow(self) -> Child:
        """Return a child for one job; blocks while all are busy. Give it back by `give_back`."""
        self._free.acquire()
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                child.close()  # it died between two jobs, and shall cost nobody an attempt
        try:
            return Child(self._context)
        except BaseException:
            self._free.release()
            raise

    def give_back(self, child: Child, *, usable: bool) -> None:
        """Take a child back after its job; one that was killed or died is collected."""
        if usable:
            with self._lock:
                self._idle.append(child)
        else:
            child.close()
        self._free.release()


class ProcessJob:
    """One try of a task in a process: `run` blocks in a thread, `kill` may come from another."""

    def __init__(
        self, processes: Processes, task: Task[Any, Any], arguments: bytes, who: tuple[TaskRun, str], lease: Lease
    ) -> None:
        """`who` is what the task is told of its run, and the run's origin id."""
        run, origin = who
        self._processes = processes
        self._lease = lease
        self._work = (*_address(task), arguments, task.retry, run.run_id, origin, run.key, run.attempt)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._killed = False

    def run(self, ready: Callable[[], None]) -> bytes:
        """Return the encoded result; `ready` is called once there is a child, before the work is sent to it.

        Raises ProcessFailure, NotStarted, or ProcessDied if the child ended or was killed.
        """
        child = self._processes.borrow()
        usable = True
        try:
            ready()
            self._take(child)
            usable = False
            answer = child.ask(self._work, self._lease)
            usable = True
        finally:
            with self._lock:
                usable = usable and not (self._killed and self._child is child)
                self._child = None
            self._processes.give_back(child, usable=usable)
        if answer == _NOT_STARTED:
            raise NotStarted
        if answer[:1] == _OK:
            return answer[1:]
        raise ProcessFailure(decoder(Raised).decode(answer[1:]))

    def _take(self, child: Child) -> None:
        with self._lock:
            if self._killed:
                raise NotStarted
            self._child = child

    def kill(self) -> None:
        """End the child, if it is at this job."""
        with self._lock:
            self._killed = True
            if self._child is not None:
                self._child.kill()


def _address(task: Task[Any, Any]) -> tuple[str, str]:
    module, name = task.fn.__module__, task.fn.__qualname__
    if "<locals>" in name:
        raise UsageError(
            f'task {task.name!r} has executor="process" and is defined inside a function',
            hint="define it at the top of its module, where another process can import it",
        )
    return module, name


def _serve(pipe: Connection[Any, Any]) -> None:
    """Answer one piece of work after another until the parent closes the pipe or dies."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with(parent.sentinel)
    while True:
        try:
            work, certain_until = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        pipe.send_bytes(_answer(work, Lease(certain_until=certain_until)))


def _answer(work: Work, lease: Lease) -> bytes:
    module, name, arguments, retry, run_id, origin, key, attempt = work
    task: Any = None
    try:
        task = _find(module, name)
        enter_task(TaskRun(run_id=run_id, origin_id=origin, key=key, attempt=attempt))
        args, kwargs = task.parameters.decode(arguments)
        return _OK + bytes(task.result.encode(lease.begin(task.fn, args, kwargs)))
    except NotStarted:
        return _NOT_STARTED
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the task's failure
        return _FAILED + encode(raised(error, None if task is None else retry))


def raised(error: BaseException, retry: Retry | None) -> Raised:
    """Return what the parent is to know of `error`. Without `retry` (no task was found) it is final."""
    try:
        delay = to_seconds(cast(Any, error.delay)) if isinstance(error, RetryAfter) else None
    except UsageError as unusable:
        return Raised(failure_of(unusable), final=True, retry_after=None)
    final = retry is None or isinstance(error, PayloadError) or not retry.retries(error)
    return Raised(failure_of(error), final, delay)


def _find(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
