"""Own `TaskRun`: a try of a task as the task itself sees it, and how it finds it."""

from __future__ import annotations

import hashlib
import math
from contextvars import ContextVar
from typing import Any, TypeVar

from msgspec import Raw

from aiki.core.errors import UsageError
from aiki.inside.pulse import Pulse
from aiki.payload.details import OF_HEARTBEAT, decode_details, encode_details
from aiki.wire.codec import decoder, encode
from aiki.wire.limits import PROGRESS_CHARS
from aiki.wire.messages import NULL, Claimed, Said

T = TypeVar("T")


class TaskRun:
    """A try of a task as the task itself sees it. Whatever it is asked for may be asked in any thread of the task's."""

    __slots__ = (
        *("_before", "_details", "_life", "_progress", "_pulse", "_shared"),
        *("attempt", "key", "run_id"),
    )

    def __init__(self, *, run_id: str, life: str, key: str, attempt: int, pulse: Pulse, shared: Any = None) -> None:
        """`life` names whose calls with one key are one, as `life_of` does: what keys are made of."""
        self.run_id = run_id
        self.key = key
        self.attempt = attempt
        self._life = life
        self._pulse = pulse
        self._before = pulse.said
        self._details: Raw | None = None
        self._progress: tuple[float | None, str] = (None, "")
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
        """A key for services that refuse doubles: the same over attempts, crashes and retries of the run.

        It is another one in a new generation: where a run goes on in one, or is tried again from its start. Of a task
        with a wider `idempotency_scope` it is the same in all runs that share its key.
        """
        return hashlib.blake2b(f"{self._life}:{self.key}".encode(), digest_size=16).hexdigest()

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
        return decode_details(self._details_before())

    def heartbeat(self, details: Any = None) -> None:
        """Say that the try lives, and how far it has come: JSON of at most 16 KiB, for the next try.

        It costs little, and may be said as often as one likes. Without `details` those of before stand. Raises
        PayloadError if they cannot be stored, and TaskCancelled, once, in a plain function that has been given up.
        """
        if details is not None:
            self._details = Raw(encode_details(details, owner=OF_HEARTBEAT))
        self._pulse.beat(None if details is None else self._said())

    def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the try is, from 0 to 1, for people: `aiki status` shows it. It is a sign of life, too.

        Of a longer message the first 200 characters are shown. Raises UsageError on what is no number or no text, and
        TaskCancelled as `heartbeat` does.
        """
        self._progress = (_checked_fraction(fraction), _checked_message(message))
        self._pulse.beat(self._said())

    def _said(self) -> bytes:
        # Read after it was set: whichever thread comes last says what both have.
        details = self._details_before() if self._details is None else self._details
        return encode(Said(details, *self._progress))

    def _details_before(self) -> Raw:
        return NULL if self._before is None else decoder(Said).decode(self._before).details


def life_of(scope: str, claimed: Claimed, namespace: str) -> str:
    """Return what tells calls with one key apart that are not one: none of it can be mistaken for another."""
    if scope == "run":
        return f"{claimed.origin_id}:{claimed.generation}"
    return f"workflow:{namespace}:{claimed.workflow}" if scope == "workflow" else f"namespace:{namespace}"


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


def _checked_fraction(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        raise UsageError(f"progress({given!r}): it must be a number from 0 to 1")
    return float(min(max(given, 0), 1))  # sums of parts come to a little more than 1


def _checked_message(given: Any) -> str:
    if not isinstance(given, str):
        raise UsageError(f"progress(..., {given!r}): the message must be text")
    return given[:PROGRESS_CHARS].encode(errors="replace").decode()
