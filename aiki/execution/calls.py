"""Own the durable calls that a body has made: their keys, who waits for them, and which stand open.

The grammar of keys is that of `aiki.core.keys`. Calls of one name and input are counted in the run; those with one
idempotency key are one call, which all its callers share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import Conflict, TaskFailed, TaskOutcomeUnknown
from aiki.wire.codec import decoder
from aiki.wire.messages import Failure

if TYPE_CHECKING:
    from aiki.definitions.task import Task

_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})


class Call:
    """One durable call: open until its outcome is delivered, or until nobody waits for it any more."""

    __slots__ = ("_args", "_copy", "_encoded", "_kwargs", "asked_at", "form", "futures", "key", "outcome", "task")

    def __init__(self, key: str, task: Task[Any, Any], form: bytes, asked_at: int) -> None:
        self.key = key
        self.task = task
        self.form = form
        """The arguments in canonical form."""
        self.asked_at = asked_at
        """The run's time when it was asked for: the same on every replay."""
        self.futures: list[asyncio.Future[Any]] = []
        self.outcome: tuple[bool, Any] | None = None
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        self._encoded: bytes | None = None
        self._copy: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        """The first try's arguments: encoding them has made a copy that nobody else holds."""

    def keep_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep what the task is to be called with, as it is now: the body may change its objects later."""
        if _are_immutable(args) and _are_immutable(kwargs.values()):
            self._args, self._kwargs = args, kwargs
        else:
            self._encoded, self._copy = self.task.parameters.encode_and_copy(args, kwargs)

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for one try: its own copy, so that no try sees what another did to them."""
        if self._encoded is None:
            return self._args, self._kwargs
        if self._copy is not None:
            copy, self._copy = self._copy, None
            return copy
        return self.task.parameters.decode(self._encoded)

    def encoded_arguments(self) -> bytes:
        """Return the arguments as one JSON object."""
        if self._encoded is None:
            self._encoded = self.task.parameters.encode(self._args, self._kwargs)
        return self._encoded

    def answer(self, ok: bool, value: bytes | msgspec.Raw) -> None:
        """Hand the recorded outcome to everybody who waits, each with a copy of its own."""
        for future in self.futures:
            if not future.done():
                self.settle(future, ok, value)
        self.futures.clear()

    def settle(self, future: asyncio.Future[Any], ok: bool, value: bytes | msgspec.Raw) -> None:
        """Resolve one future with the recorded outcome. A result that does not fit its type raises at the caller."""
        if not ok:
            future.set_exception(to_exception(self.task.name, value))
            return
        try:
            result = self.task.result.decode(bytes(value))
        except BaseException as error:  # noqa: BLE001 - decoding runs the user's validators
            future.set_exception(error)
        else:
            future.set_result(result)


class CallTable:
    """All calls of one run by key."""

    __slots__ = ("_counts", "_shared", "gone", "open")

    def __init__(self) -> None:
        self.open: dict[str, Call] = {}
        self.gone: set[str] = set()
        """Keys whose last caller left before the outcome came."""
        self._counts: dict[str, int] = {}
        self._shared: dict[str, Call] = {}

    def ask(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: int) -> Call:
        """Return the open call, or the answered one whose idempotency key this call shares.

        Raises PayloadError if the arguments do not fit, Conflict if the idempotency key was used with other ones.
        """
        form = task.parameters.canonical(args, kwargs)
        if task.idempotency_key is not None:
            return self._share(keys.shared(keys.TASK, task.name, task.idempotency_key), task, form, now)
        base = keys.of_input(keys.TASK, task.name, digest(form))
        count = self._counts.get(base, 0) + 1
        self._counts[base] = count
        call = Call(keys.numbered(base, count), task, form, now)
        self.open[call.key] = call
        return call

    def _share(self, key: str, task: Task[Any, Any], form: bytes, now: int) -> Call:
        call = self._shared.get(key)
        if call is not None:
            if call.form != form:
                raise Conflict(
                    f"task {task.name!r} was called with idempotency key {task.idempotency_key!r} and another input",
                    hint="use one key for one input",
                )
            if call.outcome is not None or key in self.open:
                return call
        call = self._shared[key] = Call(key, task, form, now)
        self.open[key] = call
        self.gone.discard(key)
        return call

    def close(self, call: Call, ok: bool, value: bytes | msgspec.Raw) -> None:
        """Deliver the call's outcome."""
        del self.open[call.key]
        if call.task.idempotency_key is not None:
            call.outcome = (ok, value)
        call.answer(ok, value)

    def leave(self, call: Call, future: asyncio.Future[Any]) -> bool:
        """Take back one caller's wait; tell whether it was the last and the call is now abandoned."""
        if self.open.get(call.key) is not call:
            return False
        call.futures.remove(future)
        if call.futures:
            return False
        del self.open[call.key]
        self.gone.add(call.key)
        return True


def _are_immutable(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - a generator costs more than the loop, and this is on the hot path
        if type(value) not in _IMMUTABLE:
            return False
    return True


def to_exception(task: str, value: bytes | msgspec.Raw) -> TaskFailed:
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
