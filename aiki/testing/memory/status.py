"""Own how runs look to readers and watchers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.keys import DETAILS
from aiki.core.states import Move, State, sources
from aiki.rules.recording import is_start, is_under_way
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire import weights
from aiki.wire.codec import decoder
from aiki.wire.limits import LISTED_BYTES, MESSAGE_BYTES
from aiki.wire.messages import (
    NONE,
    NULL,
    Attempt,
    CancelNote,
    RunStatus,
    Said,
    Status,
    StatusReply,
    TaskProgress,
    Watch,
)
from aiki.wire.packing import fitting, reply_room

_DATED: Final = sources(Move.DUE)
_TRYING: Final = frozenset({State.RUNNING, State.RETRYING})


def status(store: Store, request: Status) -> StatusReply:
    """Read runs."""
    return _reply(request.ids, {run.id: explained(store, run) for run in _found(store, request.ids)})


def watch(store: Store, request: Watch) -> StatusReply:
    """Read runs for who watches them."""
    return _reply(request.ids, {run.id: status_of(store, run) for run in _found(store, request.ids)})


def _found(store: Store, ids: Sequence[str]) -> list[Run]:
    return [store.runs[run_id] for run_id in dict.fromkeys(ids) if run_id in store.runs]


def _reply(ids: Sequence[str], found: dict[str, RunStatus]) -> StatusReply:
    sizes = (weights.of_status(found[run_id]) if run_id in found else 0 for run_id in ids)
    count = fitting(sizes, reply_room(MESSAGE_BYTES))
    told = [found[run_id] for run_id in dict.fromkeys(ids[:count]) if run_id in found]
    return StatusReply(told, rest=len(ids) - count)


def status_of(store: Store, run: Run) -> RunStatus:
    """Return how a run stands."""
    standing, life = run.standing, run.life
    return RunStatus(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        state=run.state,
        created_at=run.created_at,
        claims=standing.epoch,
        started_at=run.started_at,
        finished_at=run.finished_at,
        due_at=standing.due_at if run.state in _DATED else None,
        key=run.options.key,
        priority=run.priority,
        labels=dict(run.labels),
        tasks=life.tasks,
        output=run.output,
        error=run.error,
        why=run.why,
        worker=None if run.session is None else store.sessions[run.session].worker,
        origin_id=None if run.origin_id == run.id else run.origin_id,
        attempt=run.attempt,
        deadline=_deadline(run, store.now()),
        unread=standing.unread,
        waits=[word for word in run.waits if word in standing.waits],
        details=_details(run),
        cancel=_cancel(run),
        parent_id=None if run.parent is None else run.parent.id,
        depth=run.depth,
        children=len(run.children),
        retried_by=None if run.retried_by is None else run.newest.id,
        generation=standing.generation,
        fired=run.options.fired,
    )


def _deadline(run: Run, now: int) -> int | None:
    """Return by when it must have ended, or must have: that a cancel leaves it so long is over with that time."""
    deadline = run.deadline
    if deadline is None or (deadline.at is None and run.is_over and (deadline.look_at or 0) <= now):
        return None
    return deadline.at or deadline.look_at


def explained(store: Store, run: Run) -> RunStatus:
    """Return how a run stands, with what a person wants to know beyond that."""
    told = status_of(store, run)
    if run.state is State.QUEUED and not store.is_served(run.route):
        return replace(told, why=_unserved(told))
    if run.state in _TRYING and run.why is None and (tried := due_try(run, store.now())) is not None:
        told = replace(told, tried=tried)
    return replace(told, progress=progress(run)) if run.state is State.RUNNING else told


def listed(store: Store, run: Run) -> RunStatus:
    """Return how a run stands in a list: without a large output, and what it shows of itself."""
    told = replace(explained(store, run), details=NONE, progress=[])
    size = len(told.output)
    return told if size <= LISTED_BYTES else replace(told, output=NONE, output_bytes=size)


def _unserved(run: RunStatus) -> str:
    """Return why a run is queued that no worker can take up."""
    unserved = f"no live worker serves {run.workflow} {run.version}"
    if run.cancel is None:
        return unserved
    return f"{run.cancel.words()}; {unserved}: it ends when one does, or by force"


def due_try(run: Run, now: int) -> Attempt | None:
    """Return the try of a task that failed and is due again first."""
    due = [one for one in run.life.tries.values() if one.next_at is not None and one.next_at > now]
    failed = [one for one in due if not is_start(one)]
    first = min(failed, key=lambda one: one.next_at or 0, default=None)
    return first and Attempt(first.key, first.attempt, first.error, first.next_at)


def progress(run: Run) -> list[TaskProgress]:
    """Return what the tries of a run that are under way have said of how far they are, the last first."""
    found = []
    for one in run.life.tries.values():
        if one.details != NULL and one.key != DETAILS and (is_start(one) or is_under_way(one)):
            said: Said = decoder(Said).decode(one.details)
            if said.fraction is not None:
                found.append(TaskProgress(one.key, one.attempt, said.fraction, said.message, one.details_at or 0))
    return sorted(found, key=lambda told: -told.at)


def _details(run: Run) -> Raw:
    shown = run.life.tries.get((DETAILS, 1))
    if shown is None or shown.details == NULL:
        return NONE
    details: Raw = decoder(Said).decode(shown.details).details
    return NONE if details == NULL else details


def _cancel(run: Run) -> CancelNote | None:
    if run.cancel_seq is None or run.why is not None or run.is_over:
        return None
    note: CancelNote = decoder(CancelNote).decode(run.inbox.rows[run.cancel_seq].value)
    return note
