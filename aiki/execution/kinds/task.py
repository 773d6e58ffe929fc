"""The kind `task`: let go as tries in this worker, settled by its result or TaskFailed.

Calls of one name and input are counted; those with one idempotency key are one call, which all its callers share.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import Conflict, TaskFailed, TaskOutcomeUnknown
from aiki.definitions.task import TaskAsk
from aiki.execution.kind import Asker, Outside, TaskCall, shown
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Failure


class Tasks:
    """Calls of tasks."""

    at_once = False
    may_stay_unasked = False

    def ask(self, body: Asker, ask: TaskAsk[Any], /) -> Coroutine[Any, Any, Any]:
        """Return the wait for the task's result. Awaiting raises TaskFailed when it gave up."""
        return body.wait(self, ask)

    def recorded(self, entry: Entry, /) -> str:
        """Return the task, its key and what it came to."""
        came_to = "returned" if entry.ok else "failed:"
        return f"task {keys.name_of(entry.key)} [{entry.key}] {came_to} {shown(entry.value)}"

    def key(self, ask: TaskAsk[Any], /) -> tuple[str, Callable[[TaskAsk[Any]], Conflict] | None, bytes]:
        """Return a key of the task's idempotency key, which is shared, or else of its name and input."""
        task = ask.task
        form = ask.form()
        if task.idempotency_key is not None:
            return keys.shared(keys.TASK, task.name, task.idempotency_key), _conflict, form
        return keys.of_input(keys.TASK, task.name, digest(form)), None, form

    def keep(self, call: TaskCall, /) -> None:
        """Keep the arguments as they are now."""
        call.ask.keep()

    def start(self, call: TaskCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Have the task tried."""
        outside.admit(call, now, announce=announce)

    def abandon(self, call: TaskCall, outside: Outside) -> None:
        """Have its try cancelled."""
        outside.cancel(call)

    def settle(self, call: TaskCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve with the result, or TaskFailed. A result that does not fit its type raises at the caller."""
        task = call.ask.task
        if not ok:
            future.set_exception(_to_exception(task.name, value))
            return
        try:
            result = task.result.decode(bytes(value))
        except BaseException as error:  # noqa: BLE001 - decoding runs the user's validators
            future.set_exception(error)
        else:
            future.set_result(result)

    def asked(self, call: TaskCall, /) -> str:
        """Return the task, the key and the input of the call."""
        return f"task {call.ask.task.name} [{call.key}] with {shown(call.form)}"


def _conflict(ask: TaskAsk[Any]) -> Conflict:
    task = ask.task
    return Conflict(
        f"task {task.name!r} was called with idempotency key {task.idempotency_key!r} and another input",
        hint="use one key for one input",
    )


def _to_exception(task: str, value: bytes | Raw) -> TaskFailed:
    """Return what the caller of a task that gave up gets to see."""
    failure: Failure = decoder(Failure).decode(value)
    kind = TaskOutcomeUnknown if failure.unknown else TaskFailed
    return kind(
        failure.message,
        task=failure.task or task,
        type=failure.type,
        attempts=failure.attempts,
        traceback=failure.traceback,
        cause=failure.cause,
    )
