"""The kind `task`: let go as tries in this worker, settled by its result or TaskFailed.

Calls of one name and input are counted; those with one idempotency key are one call, which all its callers share.
If other runs may have that key, too, it is asked for before the first try.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import Conflict, TaskFailed, TaskOutcomeUnknown, UsageError
from aiki.definitions.task import TaskAsk
from aiki.execution.kind import Asker, Outside, TaskCall, shown
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Failure

_ONE_INPUT: Final = "use one key for one input"


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
        if task.idempotency_scope != "run":
            raise _without_key(ask)
        return keys.of_input(keys.TASK, task.name, digest(form)), None, form

    def keep(self, call: TaskCall, /) -> None:
        """Keep the arguments as they are now."""
        call.ask.keep()

    def start(self, call: TaskCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Have the task tried, or first ask for its key."""
        if call.ask.task.idempotency_scope == "run":
            outside.admit(call, now, announce=announce)
        else:
            outside.share(call)

    def abandon(self, call: TaskCall, outside: Outside) -> None:
        """Have its try cancelled, and its key given back."""
        if call.ask.task.idempotency_scope == "run":
            outside.cancel(call)
        else:
            outside.give_up(call)

    def arguments(self, call: TaskCall, beside: int, /) -> Raw:
        """Return its input, as its task says, or else its workflow."""
        return call.called.of(call.form, beside, call.ask.task.record_arguments)

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
        return f"task {call.ask.task.name} [{call.key}]{call.words()}"


def in_conflict(call: TaskCall, holder: str) -> Failure:
    """Return the failure of a call whose key stands for another input, in the run `holder`: none was tried for it."""
    task = call.ask.task
    where = "this workflow" if task.idempotency_scope == "workflow" else "this namespace"
    stands = f"idempotency key {task.idempotency_key!r} of task {task.name!r} stands for another input"
    return Failure(Conflict.__name__, f"{stands}, in run {holder} of {where}", task=task.name)


def _without_key(ask: TaskAsk[Any]) -> UsageError:
    task = ask.task
    return UsageError(
        f"task {task.name!r} has idempotency_scope={task.idempotency_scope!r}, and was called without a key",
        hint=f'await {getattr(task.fn, "__name__", task.name)}.options(idempotency_key=f"...").run(run, ...)',
    )


def _conflict(ask: TaskAsk[Any]) -> Conflict:
    task = ask.task
    return Conflict(
        f"task {task.name!r} was called with idempotency key {task.idempotency_key!r} and another input",
        hint=_ONE_INPUT,
    )


def _to_exception(task: str, value: bytes | Raw) -> TaskFailed | Conflict:
    """Return what the caller of a task that gave up gets to see, or of one that was never tried."""
    failure: Failure = decoder(Failure).decode(value)
    if failure.type == Conflict.__name__ and not failure.attempts:
        return Conflict(failure.message, hint=_ONE_INPUT)
    kind = TaskOutcomeUnknown if failure.unknown else TaskFailed
    return kind(
        failure.message,
        task=failure.task or task,
        type=failure.type,
        attempts=failure.attempts,
        traceback=failure.traceback,
        cause=failure.cause,
    )
