"""Own what persons order runs to do, and runs whose time has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from aiki.core.states import TERMINAL, TRANSITIONS, Move, State
from aiki.core.words import wants_paused
from aiki.rules import controlling
from aiki.rules.controlling import Obeyed, judge
from aiki.rules.standing import Standing, woken
from aiki.testing.memory import cancels, deadlines
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.limits import UNREAD_WAKES
from aiki.wire.messages import Cancel, CancelNote, Ordered, OrderReply, Pause, Resume, Wake

Order: TypeAlias = Callable[[Run], Ordered]
_UNKNOWN: Final = Ordered("unknown")


def pause(store: Store, request: Pause) -> OrderReply:
    """Hold the runs: at once those that rest, any other when its claim ends."""
    return _each(store, request.ids, lambda run: _pause(store, run, request))


def resume(store: Store, request: Resume) -> OrderReply:
    """Let the runs go on."""
    return _each(store, request.ids, lambda run: _resume(store, run, request.actor))


def cancel(store: Store, request: Cancel) -> OrderReply:
    """Cancel the runs."""
    note = CancelNote(why=request.reason, actor=request.actor)
    return _each(store, request.ids, lambda run: _cancel(store, run, note, force=request.force))


def wake(store: Store, request: Wake) -> OrderReply:
    """End the sleep of the runs."""
    return _each(store, request.ids, lambda run: _wake(store, run, request))


def pass_due(store: Store, run: Run) -> None:
    """Queue a run if its date has come, and then have its deadline do what it does, if it has passed."""
    due_at = run.standing.due_at
    if (run.state, Move.DUE) in TRANSITIONS and due_at is not None and due_at <= store.now():
        store.move(run, woken(run.standing), Move.DUE)
    deadlines.pass_due(store, run)


def _each(store: Store, ids: Iterable[str], order: Order) -> OrderReply:
    answers: dict[str, Ordered] = {}
    for run_id in dict.fromkeys(ids):
        run = store.runs.get(run_id)
        answers[run_id] = _UNKNOWN if run is None else order(run)
    return OrderReply([answers[run_id] for run_id in ids])


def _pause(store: Store, run: Run, request: Pause) -> Ordered:
    obeyed, after = controlling.pause(run.standing)
    why = wants_paused(request.actor, request.reason)
    if after.state is not run.state:
        store.move(run, after, Move.PAUSE, why=why, reason=request.reason, actor=request.actor)
    elif after.wanted != run.standing.wanted:
        run.inbox.next_number()
        run.why = why
        store.stand(run, after)
        store.tell(run)
    return Ordered(obeyed.value, run.state)


def _resume(store: Store, run: Run, actor: str | None) -> Ordered:
    obeyed, after = controlling.resume(run.standing, now=store.now())
    if after.state is run.state:
        run.why = None if run.standing.wanted is not None and after.wanted is None else run.why
        store.stand(run, after)
        return Ordered(obeyed.value, run.state)
    run.tell(store.now(), Move.RESUME, actor=actor)
    if after.state is State.SCHEDULED:
        run.tell(store.now(), Move.DEFER)
    run.why = None
    run.life.begin_early(store.now())
    store.stand(run, after)
    deadlines.resumed(store, run)
    return Ordered(obeyed.value, after.state)


def _cancel(store: Store, run: Run, note: CancelNote, *, force: bool) -> Ordered:
    cancels.cancel(store, run, note, force=force)
    is_over = run.state in TERMINAL
    obeyed = judge(run.state, Move.CANCEL, is_wanted=False) if is_over else Obeyed.REQUESTED
    return Ordered(obeyed.value, run.state)


def _wake(store: Store, run: Run, request: Wake) -> Ordered:
    before = run.state
    is_repeat = run.inbox.knows(request.id)
    obeyed, after = controlling.wake(run.standing)
    if is_repeat and before is State.QUEUED:
        obeyed = Obeyed.DONE
    if not is_repeat and not (before is State.RUNNING and _has_enough(run)):
        _carry_out(store, run, after, request)
    return Ordered(obeyed.value, run.state)


def _carry_out(store: Store, run: Run, after: Standing, request: Wake) -> None:
    if after.news > run.standing.news:
        run.inbox.add("wake", id=request.id, clock=store.now())
    if after.state is not run.state:
        store.move(run, after, Move.WAKE, actor=request.actor)
    elif after.news > run.standing.news:
        store.stand(run, after)
        store.tell(run)


def _has_enough(run: Run) -> bool:
    """Tell whether a run has not read as many wakes as it keeps."""
    return sum(one.kind == "wake" for one in run.inbox.unread.values()) >= UNREAD_WAKES
