"""Own a process that runs tasks, from the inside: it finds a task, says that it could begin, waits for leave, answers.

It cannot see the lease, so the leave tells until when it may begin, by the clock that both processes share, and the
lease is looked at as the last thing before the body. Whatever comes before that (this process's start, the import of
the task's module, the arguments) is no part of the task: neither its timeout nor its attempts count it.

It leads a group of its own, so that what its tasks start ends with it, and ends with its parent, whatever it is doing
then. A stop is its parent's business: one that is sent to all processes at once ends no task in the middle.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import msgspec

from aiki.core.duration import to_seconds
from aiki.core.errors import PayloadError, RetryAfter, UsageError
from aiki.core.retry import Retry
from aiki.execution.failures import failure_of
from aiki.execution.lease import Lease, NotStarted
from aiki.execution.tasks.line import CANCELLED, Line
from aiki.inside.task_run import TaskRun, enter_task
from aiki.process.group import lead
from aiki.process.imports import look_first_in
from aiki.process.parent import end_with
from aiki.process.spawned import begin
from aiki.process.stops import leave_stops_to_parent, stops_heard_by
from aiki.wire.codec import encode
from aiki.wire.messages import Failure

READY: Final = b"!"
OK: Final = b"+"
FAILED: Final = b"-"
NOT_STARTED: Final = b"0"
Work = tuple[str, str, bytes, Retry, str, str, str, int, bytes | None]
"""module, qualified name, arguments, retry, run id, its life, key, attempt, what the tries before have said"""


class Raised(msgspec.Struct):
    """What was raised in a child, and what its class meant for a retry: the class itself does not come back."""

    failure: Failure
    final: bool
    retry_after: float | None


def raised(error: BaseException, retry: Retry | None) -> Raised:
    """Return what the parent is to know of `error`. Without `retry` (no task was found) it is final."""
    try:
        delay = to_seconds(cast(Any, error.delay)) if isinstance(error, RetryAfter) else None
    except UsageError as unusable:
        return Raised(failure_of(unusable), final=True, retry_after=None)
    final = retry is None or isinstance(error, PayloadError) or not retry.retries(error)
    return Raised(failure_of(error), final, delay)


def serve(pipe: Connection[Any, Any], folders: Sequence[str]) -> None:
    """Answer one piece of work after another until the parent closes the pipe or dies.

    Modules are looked for as the parent does, in `folders` first: all that this one needs of Python's stands already.
    """
    look_first_in(folders)
    begin()
    lead()
    parent = multiprocessing.parent_process()
    assert parent is not None, "serve() is what a spawned process does"
    end_with(parent.sentinel)
    # Of a daemon multiprocessing says that it may have no children, for it could not end them. The group can.
    multiprocessing.current_process().daemon = False
    # A fork of a task's must neither answer for the task nor hold the pipe open when this process has died.
    os.register_at_fork(after_in_child=pipe.close)
    with suppress(EOFError, OSError):  # the parent has closed the pipe, or a task has
        while True:
            leave_stops_to_parent()  # again: a task may have had handlers of its own
            work = pipe.recv()
            if work != CANCELLED:  # the task that it was meant for has just ended
                pipe.send_bytes(_answer(work, pipe))


def _answer(work: Work, pipe: Connection[Any, Any]) -> bytes:
    module, name, arguments, retry, run_id, life, key, attempt, said = work
    task: Any = None
    line = Line(pipe, said=said)
    try:
        task = _find(module, name)
        enter_task(TaskRun(run_id=run_id, life=life, key=key, attempt=attempt, pulse=line))
        args, kwargs = task.parameters.decode(arguments)
        pipe.send_bytes(READY)
        leave = pipe.recv()
        if leave == CANCELLED:
            return NOT_STARTED
        with stops_heard_by(line.hear):
            result = Lease(certain_until=leave).begin(task.fn, args, kwargs)
        return OK + bytes(task.result.encode(result))
    except NotStarted:
        return NOT_STARTED
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the task's failure
        return FAILED + encode(raised(error, None if task is None else retry))
    finally:
        line.close()


def _find(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
