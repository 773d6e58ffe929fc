"""Own what a reader sees of a run: `RunStatus` with aware datetimes, and the errors that a run's end stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiki.core.errors import AikiError, PayloadError, RunBlocked, RunCancelled, RunFailed, RunTimedOut
from aiki.core.keys import EVENT, task_of
from aiki.core.moments import to_datetime
from aiki.core.states import TERMINAL, State
from aiki.core.words import failed_try
from aiki.definitions import stored
from aiki.inside.fired import FiredSlot, fired_slot
from aiki.wire import messages


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """What a running task has last said of its progress."""

    task: str
    attempt: int
    fraction: float
    """From 0 to 1."""
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFrom:
    """Where an imported run comes from."""

    namespace: str
    state: State
    """In which it was there."""
    exported_at: datetime
    imported_at: datetime
    actor: str | None
    """Who has imported it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run at the time it was read."""

    run_id: str
    origin_id: str
    """The first of its retries, if it is one; else `run_id`."""
    workflow: str
    version: str
    state: State
    attempt: int
    """The attempt of the workflow itself, from 1. Being taken up again after its worker was lost is none."""
    claims: int
    """How many times a worker has taken it up."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    """When a scheduled, sleeping, waiting or retrying run goes on, or a task of a running one is tried again."""
    key: str | None = None
    priority: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    tasks: int = 0
    """Task outcomes recorded so far."""
    result: Any = None
    """The result as plain JSON types, if the run completed; a typed one comes from `Handle.result()`.

    One that cannot be read is an `Unreadable`: its raw text.
    """
    result_bytes: int | None = None
    """The size of a result that is left out, since it is too long for a list."""
    error: messages.Failure | None = None
    why: str | None = None
    """Why it does not move: what it waits for, since when, and what would move it, to follow its id. The whole of it is
    what `Handle.why()` tells.

    In lists, and of a change that is watched, only what its state does not say: why it is blocked, queued with nobody
    to run it, or shown without its result; which task of it is tried again; who has told it to end, and why. Of a run
    that has ended, what its body did wrong without failing by it.
    """
    is_explained: bool = False
    """Whether `why` is the whole sentence: so it is of a few runs that are asked for by id, until they have ended."""
    worker: str | None = None
    deadline: datetime | None = None
    """By when it must have ended, if it has a timeout."""
    progress: tuple[TaskProgress, ...] = ()
    """Of its running tasks, the last word first; of runs that are asked for by id."""
    unread: int = 0
    """Events that have come, and that it has not taken."""
    waits: list[str] = field(default_factory=list)
    """The events that it waits for, if it has left its worker for that; `due_at` is its timeout then."""
    details: Any = None
    """What it has last shown of itself by `run.set_details()`, as plain JSON types; not in lists."""
    parent_id: str | None = None
    """The run that has started it; None if it is a root."""
    depth: int = 0
    """How many ancestors it has."""
    children: int = 0
    """How many runs it has started, or met by their keys when it was to start them."""
    retried_by: str | None = None
    """The newest of its retries, if this is a run that was asked for as such: it goes on in its place."""
    retry_of: str | None = None
    """The run that was asked for, if this is its newest retry."""
    generation: int = 0
    """Which life of the run this is, from 0: `workflow.continue_as_new(run, ...)` begins the next. `tasks` counts its
    own."""
    schedule: FiredSlot | None = None
    """The slot that it is of, if a schedule has fired it, or the first of its retries."""
    imported: ImportedFrom | None = None
    """Where it comes from, if it was imported: then nothing moves it."""

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in TERMINAL

    @property
    def timed_out(self) -> bool:
        """Whether it failed because its own timeout had passed."""
        return self.error is not None and _is_timeout(self.error)


def from_wire(run: messages.RunStatus) -> RunStatus:
    """Return the public form of a status on the wire."""
    due_at, why = (run.due_at, run.why) if run.tried is None else _due(run.tried)
    if run.cancel is not None:
        why = run.why or run.cancel.words()
    why = run.sentence or why

    def moment(value: int | None) -> datetime | None:
        return None if value is None else to_datetime(value)

    return RunStatus(
        run_id=run.id,
        origin_id=run.origin_id or run.id,
        workflow=run.workflow,
        version=run.version,
        state=run.state,
        attempt=run.attempt,
        claims=run.claims,
        created_at=to_datetime(run.created_at),
        started_at=moment(run.started_at),
        finished_at=moment(run.finished_at),
        due_at=moment(due_at),
        key=run.key,
        priority=run.priority,
        labels=run.labels,
        tasks=run.tasks,
        result=stored.read(run.output),
        result_bytes=run.output_bytes,
        error=stored.read_failure(run.error),
        why=why,
        is_explained=run.sentence is not None,
        worker=run.worker,
        deadline=moment(run.deadline),
        progress=tuple(map(_progress, run.progress)),
        unread=run.unread,
        waits=[name for kind, _, name in (word.partition(":") for word in run.waits) if kind == EVENT],
        details=stored.read(run.details),
        parent_id=run.parent_id,
        depth=run.depth,
        children=run.children,
        retried_by=run.retried_by,
        retry_of=run.retry_of,
        generation=run.generation,
        schedule=fired_slot(run.fired),
        imported=None if run.imported is None else _origin(run.imported),
    )


def _origin(imported: messages.ImportedFrom) -> ImportedFrom:
    return ImportedFrom(
        namespace=imported.namespace,
        state=imported.state,
        exported_at=to_datetime(imported.exported_at),
        imported_at=to_datetime(imported.imported_at),
        actor=imported.actor,
    )


def _progress(said: messages.TaskProgress) -> TaskProgress:
    return TaskProgress(
        task=task_of(said.key) or said.key,
        attempt=said.attempt,
        fraction=said.fraction,
        message=said.message,
        at=to_datetime(said.at),
    )


def _is_timeout(failure: messages.Failure) -> bool:
    return failure.type == RunTimedOut.__name__


def _due(tried: messages.Attempt) -> tuple[int | None, str | None]:
    """Return when a task is tried again, and why."""
    failure = stored.read_failure(tried.error) or messages.Failure("Unknown", "no error was recorded")
    return tried.next_at, failed_try(task_of(tried.key), tried.attempt, type=failure.type, message=failure.message)


def error_of(run: messages.RunStatus) -> AikiError | None:
    """Return the error that `Handle.result()` raises for this state; None if it completed or goes on."""
    match run.state:
        case State.COMPLETED if not run.output:
            return PayloadError(f"run {run.id} completed, and its result cannot be read: {run.why}")
        case State.FAILED:
            cause = stored.read_failure(run.error) or messages.Failure("Unknown", run.why or "no error was recorded")
            kind = RunTimedOut if _is_timeout(cause) else RunFailed
            return kind(cause.message, run_id=run.id, type=cause.type, traceback=cause.traceback, cause=cause.cause)
        case State.CANCELLED:
            return RunCancelled(f"run {run.id} was cancelled" + (f" ({run.why})" if run.why else ""))
        case State.BLOCKED | State.PAUSED if run.imported is not None:
            return RunBlocked(f"run {run.id} was {run.why}", hint=f"aiki run history {run.id}")
        case State.BLOCKED | State.PAUSED:
            return RunBlocked(
                f"run {run.id} is {run.state}: {run.why or 'no reason recorded'}",
                hint="await handle.resume()",
                command=f"aiki run resume {run.id}",
            )
        case _:
            return None
