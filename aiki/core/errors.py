"""Own every error that Aiki raises: who erred, whether a retry helps, and its stable wire code.

A message names the thing, its id and the remedy. `hint` is one line that can be pasted where the caller is: into code,
so a traceback shows it. The command line shows `command` in its place, where there is one: what to type there.
"""

from __future__ import annotations

from typing import ClassVar, Final

_HINT: Final = "hint: "
"""What the note of a hint begins with; a note is what a traceback ends with (PEP 678)."""


class AikiError(Exception):
    """The root of all errors that Aiki raises on purpose."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str | None = None, command: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.command = command
        if hint is not None:
            self.add_note(f"{_HINT}{hint}")

    @property
    def facts(self) -> list[str]:
        """What was noted of it beside its hint."""
        notes = getattr(self, "__notes__", ())
        return [note for note in notes if isinstance(note, str) and not note.startswith(_HINT)]


class UsageError(AikiError):
    """The caller used the API in a way that cannot work; the message says what to write instead."""

    code = "usage"


class PayloadError(UsageError):
    """A payload or result does not fit its type or a limit; the message names the JSON path."""

    code = "payload"


class ConfigError(AikiError):
    """A manifest, a configuration file or a variable is wrong; nothing was started."""

    code = "config"


class FileUnreadable(ConfigError):
    """A file that was named cannot be read."""

    code = "no_input"


class NotFound(AikiError):
    """The run, workflow or version does not exist in this namespace."""

    code = "not_found"


class Conflict(AikiError):
    """An idempotency key was used before with another input, or the state forbids the request."""

    code = "conflict"


class Unavailable(AikiError):
    """Aiki or its storage cannot be reached. Whether a write happened is unknown: repeat it with the same id."""

    code = "unavailable"


class Denied(Unavailable):
    """NATS refuses the credentials, or does not permit what was asked: it stays so until a person changes that."""

    code = "denied"


class Overloaded(Unavailable):
    """The daemon is beyond its budget for such calls; repeat after `retry_after` seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float = 0.1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Unsupported(AikiError):
    """This daemon does not know the request: it is older than the caller, or the feature is not built yet."""

    code = "unsupported"


class Fenced(AikiError):
    """A write came from a claim that no longer holds its run; nothing was changed."""

    code = "fenced"


class NondeterminismError(AikiError):
    """The workflow's code asked for something else than its journal holds."""

    code = "nondeterminism"


class WaitTimeout(AikiError, TimeoutError):
    """The caller's own deadline passed; the run goes on."""

    code = "wait_timeout"


class TaskFailed(AikiError):
    """A task gave up. The original class is not rebuilt: `type` is its name, `traceback` its text."""

    code = "task_failed"

    def __init__(
        self, message: str, *, task: str, type: str, attempts: int, traceback: str = "", cause: str | None = None
    ) -> None:
        super().__init__(message)
        self.task = task
        self.type = type
        self.attempts = attempts
        self.traceback = traceback
        self.cause = cause

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"task {self.task!r} failed {times}: {self.type}: {self.message}"


class TaskOutcomeUnknown(TaskFailed):
    """An `at_most_once` task was about to begin, or had, when its worker died or lost its lease.

    Whether it took effect is unknown.
    """

    code = "task_outcome_unknown"


class EventTimeout(AikiError, TimeoutError):
    """In a body: no event that it waited for came in time, or not as many as it wanted. Nothing was taken."""

    code = "event_timeout"

    def __init__(self, message: str, *, events: tuple[str, ...], seconds: float) -> None:
        super().__init__(message)
        self.events = events
        """The names of what was waited for."""
        self.seconds = seconds
        """For how long."""


class SendFailed(AikiError):
    """A run did not take an event; it has not seen anything of it.

    `result` says why: `ended` (RunEnded is raised then), `full` (it has too many unread), `conflict` (the key came with
    another value before), `unknown` (there is no such run), `refused` (its workflow takes no such event).
    """

    code = "send_failed"

    def __init__(
        self, message: str, *, run_id: str, event: str, result: str, state: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, command=f"aiki status {run_id}")
        self.run_id = run_id
        self.event = event
        self.result = result
        self.state = state
        """That of the run, where it is known."""


class RunEnded(SendFailed):
    """The run had ended before the event came: `state` says how."""

    code = "run_ended"


class ChildFailed(AikiError):
    """In a body: a child did not complete. `state` says how it ended, `failed` or `cancelled`.

    The original class is not rebuilt: `type` is its name, `traceback` its text; of a cancelled child `RunCancelled`.
    """

    code = "child_failed"

    def __init__(
        self,
        message: str,
        *,
        run_id: str,
        workflow: str,
        state: str,
        type: str,
        traceback: str = "",
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.workflow = workflow
        self.state = state
        self.type = type
        self.traceback = traceback
        self.cause = cause

    def __str__(self) -> str:
        return f"child {self.run_id} of workflow {self.workflow!r} {self.state}: {self.type}: {self.message}"


class RunFailed(AikiError):
    """The run ended `failed`. `type` is the class name of what its body raised, `traceback` its text."""

    code = "run_failed"

    def __init__(self, message: str, *, run_id: str, type: str, traceback: str = "", cause: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.type = type
        self.traceback = traceback
        self.cause = cause

    def __str__(self) -> str:
        return f"run {self.run_id} failed: {self.type}: {self.message}"


class RunTimedOut(RunFailed):
    """The run ended `failed` because its own `timeout` had passed."""

    code = "run_timed_out"

    def __str__(self) -> str:
        return f"run {self.run_id} timed out: {self.message}"


class RunCancelled(AikiError):
    """The run ended `cancelled`."""

    code = "run_cancelled"


class RunBlocked(AikiError):
    """The run is blocked or paused and needs a person; nothing is lost."""

    code = "run_blocked"


class Fatal(Exception):
    """Raise in a task, or in a workflow that is tried again itself: this failure is final, no retry can help."""


class TaskCancelled(BaseException):
    """Raised inside a task that has been given up, where it next says that it lives: nobody waits for its result.

    As asyncio's CancelledError it is no Exception, so that what handles failures lets it pass. A coroutine gets that.
    """


class RetryAfter(Exception):
    """Raise in a task: try again after `delay` (a timedelta or text such as "30s"), whatever the strategy says.

    It still counts as an attempt. So it does in a workflow that is tried again itself.
    """

    def __init__(self, delay: object, message: str = "") -> None:
        super().__init__(message or f"retry after {delay}")
        self.delay = delay


WIRE_ERRORS: dict[str, type[AikiError]] = {
    kind.code: kind
    for kind in (UsageError, PayloadError, NotFound, Conflict, Unavailable, Overloaded, Unsupported, Fenced)
}
"""What a daemon may answer, by code; any other code is raised as AikiError."""

FINAL: tuple[type[AikiError], ...] = (UsageError, NotFound, Conflict, Unsupported, Fenced)
"""Answers about the request itself: a repeat gets the same. All others may pass, a bug of the daemon too: it may be
that of a neighbour's request, or last no longer than a migration."""
