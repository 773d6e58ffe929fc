"""Own what a client makes runs do: pause, resume, wake, cancel; one or many. Each order says who gives it."""

from __future__ import annotations

import getpass
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from aiki.client import waits
from aiki.client.unknown import unknown_run
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict, NotFound, UsageError
from aiki.core.states import Move, State, sources
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Cancel, Ordered, Pause, Resume, RunStatus, Wake
from aiki.wire.messages.arrivals import REASON_CHARS

Kind = type[Pause] | type[Resume] | type[Wake] | type[Cancel]
_ACTOR_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Order:
    """What runs are to do, and who wants it: without a name, whoever this process belongs to."""

    kind: Kind
    actor: str | None = None
    reason: str | None = None
    force: bool = False

    @classmethod
    def pause(cls, *, actor: str | None = None, reason: str | None = None) -> Order:
        """Return a pause. Raises UsageError if the reason cannot be kept."""
        _check_reason(reason)
        return cls(Pause, actor, reason)

    @classmethod
    def cancel(cls, *, actor: str | None = None, reason: str | None = None, force: bool = False) -> Order:
        """Return a cancel. Raises UsageError if the reason cannot be kept."""
        _check_reason(reason)
        return cls(Cancel, actor, reason, force)

    def to(self, run_ids: list[str]) -> Pause | Resume | Wake | Cancel:
        """Return the request that gives the order to these runs."""
        request = self.kind(run_ids, self.actor or person())
        if isinstance(request, Wake):  # one that is repeated must not end the next sleep, too
            request.id = str(uuid.uuid4())
        elif isinstance(request, Cancel):
            request.reason, request.force = self.reason, self.force
        elif isinstance(request, Pause):
            request.reason = self.reason
        return request


def _check_reason(reason: str | None) -> None:
    if reason is not None and (len(reason) > REASON_CHARS or "\0" in reason):
        raise UsageError(f"reason={reason[:40]!r}…: it must be at most {REASON_CHARS:,} characters, without NUL")


@cache
def person() -> str:
    """Return who this process belongs to: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"[:_ACTOR_CHARS]


async def obey(wire: Wire, order: Order, run_id: str) -> RunStatus:
    """Give the order to one run, and return the run since. Raises NotFound, or Conflict if its state forbids it."""
    (outcome,) = await obey_all(wire, order, [run_id])
    if isinstance(outcome, AikiError):
        raise outcome
    return outcome


async def obey_all(wire: Wire, order: Order, run_ids: Sequence[str]) -> list[RunStatus | AikiError]:
    """Give the order to the runs, and return of each in order how it is since, or why it does not obey."""
    ordered: list[Ordered] = []
    for start in range(0, len(run_ids), BATCH_RUNS):
        ordered += (await wire.call(order.to(list(run_ids[start : start + BATCH_RUNS])))).outcomes
    each = list(zip(run_ids, ordered, strict=True))
    refused = {run_id: error for run_id, one in each if (error := _refusal(wire, order.kind, run_id, one)) is not None}
    read = [run_id for run_id, one in each if run_id not in refused or one.result == "too_late"]
    found = await waits.read(wire, read)
    refused |= {
        run_id: _retried(order.kind, run_id, run.retried_by)
        for run_id, run in found.items()
        if run.retried_by is not None
    }
    return [refused.get(run_id) or found.get(run_id) or _unknown(wire, run_id) for run_id in run_ids]


def _refusal(wire: Wire, kind: Kind, run_id: str, ordered: Ordered) -> AikiError | None:
    match ordered.result:
        case "unknown":
            return _unknown(wire, run_id)
        case "imported":
            return imported(run_id)
        case "too_late":
            return Conflict(f"run {run_id} has ended {ordered.state}: it is too late to {kind.op} it")
        case "refused" if kind is Pause:
            return Conflict(f"run {run_id} is {ordered.state}: it stands still already, until it is resumed")
        case "refused" if kind is Wake and ordered.state is State.QUEUED:
            return Conflict(f"run {run_id} is queued: it does not sleep, and goes on when a worker takes it")
        case "refused" if kind is Wake:
            return Conflict(f"run {run_id} is {ordered.state}: nothing in it sleeps")
        case "refused":
            states = ", ".join(sorted(sources(Move.RESUME)))
            return Conflict(f"run {run_id} is {ordered.state}: only what is {states} can be resumed")
        case _:
            return None


def _retried(kind: Kind, run_id: str, newest: str) -> Conflict:
    """Return the error for a run in whose place another goes on. What is sent to it gets there; orders mean one run."""
    return Conflict(
        f"run {run_id} has ended, and run {newest} goes on in its place: {kind.op} that",
        hint=f'await client.runs.{kind.op}("{newest}")',
        command=f"aiki run {kind.op} {newest}",
    )


def imported(run_id: str) -> Conflict:
    """Return the error for a run that was imported, whatever it was to do."""
    return Conflict(
        f"run {run_id} was imported, to be looked at: nothing moves it, and it obeys no order",
        hint="do it where it was exported from; here it can be replayed and debugged",
    )


def _unknown(wire: Wire, run_id: str) -> NotFound:
    return unknown_run(run_id, wire.namespace)
