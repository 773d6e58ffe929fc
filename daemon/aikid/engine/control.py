"""Carry out what persons order: many runs in one commit, and of each what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.states import TERMINAL, Move, State, target
from aiki.core.words import wants_paused
from aiki.rules import controlling
from aiki.rules.controlling import Obeyed, judge
from aiki.rules.standing import Standing
from aiki.wire.messages import Cancel, CancelNote, Ordered, OrderReply, Pause, Resume, Wake
from aikid.engine import imports
from aikid.engine.changes import Changes, Done, Finished
from aikid.store import cancels
from aikid.store import control as store
from aikid.store.cancels import Cancelled
from aikid.store.pool import Pool

_UNKNOWN: Final = Ordered("unknown")


async def pause(pool: Pool, namespace: str, request: Pause) -> Done[OrderReply]:
    """Hold the runs, and have the workers told of those that they run. Raises Unavailable."""
    failpoint("pause.before_commit")
    why = wants_paused(request.actor, request.reason)
    by = {"actor": request.actor, "reason": request.reason}
    found = await pool.run(lambda c: store.pause(c, namespace, request.ids, why=why, **by))
    changes, outcomes = Changes(), {}
    for run_id, run in found.items():
        obeyed = judge(run.before, Move.PAUSE, is_wanted=run.was_wanted)
        is_moved = obeyed is Obeyed.DONE and run.before is not State.PAUSED
        outcomes[run_id] = Ordered(obeyed.value, State.PAUSED if is_moved else run.before)
        if is_moved:
            changes.settled[namespace].append(run_id)
        elif run.session is not None and run.news is not None:
            changes.told[namespace, run.session].append((run_id, run.news))
    return await _done(pool, namespace, request, outcomes, changes)


async def resume(pool: Pool, namespace: str, request: Resume) -> Done[OrderReply]:
    """Let the runs go on. Raises Unavailable."""
    found = await pool.run(lambda c: store.resume(c, namespace, request.ids, actor=request.actor))
    changes, outcomes = Changes(), {}
    for run_id, run in found.items():
        obeyed = judge(run.before, Move.RESUME, is_wanted=run.was_wanted)
        outcomes[run_id] = Ordered(obeyed.value, run.state or run.before)
        if run.state is not None:
            changes.changed[namespace].append(run_id)
            changes.due_in(run.due_seconds)
        if run.state is target(Move.RESUME):
            changes.queued[namespace, run.workflow, run.version] += 1
    return await _done(pool, namespace, request, outcomes, changes)


async def cancel(pool: Pool, namespace: str, request: Cancel) -> Done[OrderReply]:
    """Cancel the runs, and have the workers told of those that they run. Raises Unavailable."""
    failpoint("cancel.before_commit")
    note = CancelNote(why=request.reason, actor=request.actor)
    found = await pool.run(lambda c: cancels.cancel(c, namespace, request.ids, note, force=request.force))
    changes, outcomes = Changes(), {}
    note_cancelled(changes, namespace, found)
    for run_id, run in found.items():
        outcomes[run_id] = _cancelled(run.state or run.before)
    return await _done(pool, namespace, request, outcomes, changes)


def note_cancelled(changes: Changes, namespace: str, found: Mapping[str, Cancelled]) -> None:
    """Take note of what a cancel has done to runs."""
    for run_id, run in found.items():
        changes.due_in(run.bound_seconds)
        if run.state is None:
            continue
        if run.session is not None:  # of an end, too: its worker reads its inbox, finds that out, and has a slot free
            changes.told[namespace, run.session].append((run_id, run.news))
        if run.state in TERMINAL:
            changes.settled[namespace].append(run_id)
            changes.errands += 1
            if run.since is not None:
                route = (namespace, run.workflow, run.version)
                changes.finished.append(Finished(route, run_id, run.state, run.now, run.since))
        elif run.state is State.QUEUED and run.before is not State.QUEUED:
            changes.changed[namespace].append(run_id)
            changes.queued[namespace, run.workflow, run.version] += 1


async def wake(pool: Pool, namespace: str, request: Wake) -> Done[OrderReply]:
    """End the sleep of the runs. Raises Unavailable."""
    found = await pool.run(lambda c: store.wake(c, namespace, request.ids, order=request.id, actor=request.actor))
    changes, outcomes = Changes(), {}
    for run_id, run in found.items():
        obeyed, _ = controlling.wake(Standing(run.before, epoch=run.epoch, waits=run.waits))
        if run.was_woken:
            obeyed = Obeyed.DONE
        outcomes[run_id] = Ordered(obeyed.value, run.state or run.before)
        if run.session is not None:
            changes.told[namespace, run.session].append((run_id, run.news))
        elif run.state is not None:
            changes.queued[namespace, run.workflow, run.version] += 1
            changes.changed[namespace].append(run_id)
    return await _done(pool, namespace, request, outcomes, changes)


def _cancelled(state: State) -> Ordered:
    """Return the answer to a cancel by which a run stands so."""
    obeyed = judge(state, Move.CANCEL, is_wanted=False) if state in TERMINAL else Obeyed.REQUESTED
    return Ordered(obeyed.value, state)


async def _done(
    pool: Pool,
    namespace: str,
    request: Pause | Resume | Cancel | Wake,
    outcomes: Mapping[str, Ordered],
    changes: Changes,
) -> Done[OrderReply]:
    copies = await imports.among(pool, namespace, [run_id for run_id in request.ids if run_id not in outcomes])
    told = {**outcomes, **{run_id: Ordered("imported", state) for run_id, state in copies.items()}}
    return Done([OrderReply([told.get(run_id, _UNKNOWN) for run_id in request.ids])], changes)
