"""Own what a repeated enqueue means: the same run, a conflict, or an id that is taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from aiki.core.errors import AikiError, Conflict, NotFound, Overloaded, RunEnded, Unavailable, UsageError
from aiki.core.states import TERMINAL, State
from aiki.rules.standing import Standing
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import Enqueued, NewRun, Outcome, Refusal

GONE: Final = "which was deleted after its retention; its key is held for a while longer"


@dataclass(frozen=True, slots=True)
class Stored:
    """A run that was there before; `input_hash` is the SHA-256 of its input.

    Of one that was deleted, while its key is still held, no state is known.
    """

    id: str
    namespace: str
    workflow: str
    version: str
    key: str | None
    digest: str | None
    input_hash: bytes
    state: State | None


def born(run: NewRun, *, now: int) -> Standing:
    """Return how a new run stands that is stored now."""
    due_at = run.options.start_at if run.options.start_at is not None else now + (run.options.delay or 0)
    return Standing(State.SCHEDULED, due_at=due_at) if due_at > now else Standing(State.QUEUED)


def meet(namespace: str, run: NewRun, same_id: Stored | None, same_key: Stored | None) -> Enqueued:
    """Return the answer for a run that may have been there: `same_id` and `same_key` are those that were found.

    One that was stored under its own id is the same run, whoever stored it.
    """
    if same_id is not None:
        if difference := _difference(namespace, run, same_id):
            return refused(run.id, Conflict(f"run id {run.id} is in use{difference}"))
        return Enqueued(run.id)
    if same_key is None:
        # Whoever held the id or key was rolled back or deleted since: the caller repeats.
        return refused(run.id, Unavailable(f"run {run.id} could not be stored: enqueue it again"))
    if same_key.digest == run.digest or run.options.on_conflict == "existing":
        return Enqueued(same_key.id, created=False)
    message = f"key {run.options.key!r} of workflow {run.workflow!r} was used with another input by run {same_key.id}"
    return refused(same_key.id, Conflict(message if same_key.state else f"{message}, {GONE}"))


def is_retried(run: NewRun, same_key: Stored) -> bool:
    """Tell whether the run that has the key of an enqueue is to be retried by it: it has failed, by its timeout too."""
    is_same = same_key.digest == run.digest
    return is_same and run.options.on_conflict == "retry_failed" and same_key.state is State.FAILED


def frees(run: NewRun, holder: State | None) -> bool:
    """Tell whether the run that has the key of a new one gives it up to that: it has ended, or is gone."""
    return run.options.on_conflict == "restart" and (holder is None or holder in TERMINAL)


def told(run: NewRun, answer: Enqueued, outcome: Outcome) -> Enqueued:
    """Return the answer for a run that was sent an event with its enqueue: it is no success if it has not got it."""
    if outcome.result in ("taken", "repeated"):
        return answer
    name = "" if run.options.send is None else run.options.send.name
    message = f"run {answer.id} takes no event {name!r}"
    if outcome.result == "ended":
        error: AikiError = RunEnded(
            f"{message}: it is {outcome.state}", run_id=answer.id, event=name, result="ended", state=outcome.state
        )
    elif outcome.result == "unknown":
        error = NotFound(f"{message}, {GONE}", hint="on_conflict='restart' starts a new run with its key")
    elif outcome.result == "full":
        error = Overloaded(f"{message}: it has {UNREAD_EVENTS:,} that it has not taken yet, and can have no more")
    else:
        error = UsageError(f"{message} ({outcome.result})")
    return refused(answer.id, error)


def refused(run_id: str, error: AikiError) -> Enqueued:
    """Return the answer for a run that is not stored."""
    return Enqueued(run_id, created=False, error=Refusal(error.code, error.message))


def _difference(namespace: str, run: NewRun, stored: Stored) -> str:
    """Return in words what makes the run another one than that of its id, empty if it is that run."""
    if stored.namespace != namespace:
        return " elsewhere"
    differing = [
        name
        for name, given, found in (
            ("workflow", run.workflow, stored.workflow),
            ("version", run.version, stored.version),
            ("idempotency key", run.options.key, stored.key),
            ("input", sha256(bytes(run.input)).digest(), stored.input_hash),
        )
        if given != found
    ]
    return f": its run has another {' and '.join(differing)}" if differing else ""
