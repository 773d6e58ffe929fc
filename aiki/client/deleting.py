"""Own what a client has deleted: runs that have ended, each with its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki.client.control import person
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict
from aiki.wire import messages
from aiki.wire.limits import FAMILY_RUNS, RETRIED_RUNS
from aiki.wire.messages import Delete


@dataclass(frozen=True, slots=True)
class DeletedRun:
    """A run that was deleted, or would be."""

    run_id: str
    runs: int
    """How many went with it: itself, its retries, what these had started, and so on. 0 if it was not there any more."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """How runs are deleted, and who wants it: without a name, whoever this process belongs to."""

    forget_keys: bool = False
    preview: bool = False
    actor: str | None = None


async def delete_all(wire: Wire, order: Deletion, run_ids: Sequence[str]) -> list[DeletedRun | AikiError]:
    """Delete runs, and return of each in order how many went, or why it stays.

    One that was held by a later one has gone with that.
    """
    found: list[tuple[str, messages.DeletedRun]] = []
    actor = order.actor or person()
    for start in range(0, len(run_ids), RETRIED_RUNS):
        ids = list(run_ids[start : start + RETRIED_RUNS])
        reply = await wire.call(Delete(ids, actor, forget_keys=order.forget_keys, preview=order.preview))
        found += zip(ids, reply.outcomes, strict=True)
    gone = {run_id for run_id, one in found if one.result == "done"}
    return [DeletedRun(run_id, 0) if one.other in gone else _told(run_id, one) for run_id, one in found]


def _told(run_id: str, one: messages.DeletedRun) -> DeletedRun | AikiError:
    match one.result:
        case "done":
            return DeletedRun(run_id, one.runs)
        case "unknown":
            return DeletedRun(run_id, 0)  # that it is gone is what was wanted: by whom nobody knows
        case "live" if one.other == run_id:
            return Conflict(
                f"run {run_id} is {one.state}: only what has ended can be deleted",
                hint="await handle.cancel()",
                command=f"aiki run cancel {run_id}",
            )
        case "live":
            return Conflict(
                f"run {run_id} has not ended with all its family: {one.other} is {one.state or 'still going'}",
                hint="await client.runs.cancel(...)",
                command=f"aiki run cancel {one.other}",
            )
        case "held":
            return Conflict(
                f"run {run_id} has to stay: run {one.other} has started it, or waits for it, and may read it again",
                hint=f'await client.runs.delete(["{one.other}"])',
                command=f"aiki run delete {one.other}",
            )
        case "large":
            return Conflict(
                f"run {run_id} has a family of more than {FAMILY_RUNS:,} runs, or too much is stored of them, for one"
                " commit to delete it",
                hint="delete its children first, some at a time",
            )
        case _:
            return Conflict(
                f"run {run_id} is in somebody else's hands just now: nothing was deleted of it", hint="do it again"
            )
