"""Own what the deadline of a run does to it, and the time that a cancel leaves it to end."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from aiki.core.errors import RunTimedOut
from aiki.core.moments import SECOND, to_datetime
from aiki.core.states import TOLD, Move, State
from aiki.rules import deadlines as rules
from aiki.rules.deadlines import GRACE_SECONDS, Step
from aiki.rules.standing import Standing
from aiki.testing.memory.run import Deadline, Run
from aiki.testing.memory.store import Store
from aiki.wire.codec import encode
from aiki.wire.messages import NONE, CancelNote, Failure

_NOTE: Final = Raw(encode(CancelNote(reason="timeout")))


def bound(store: Store, run: Run) -> None:
    """Have a run that is told of a cancel end in the time that its options leave it for that."""
    deadline = run.deadline
    if deadline is not None and deadline.grace is not None:
        look_at = store.now() + deadline.grace
        store.watch(run, Deadline(None, deadline.timeout, deadline.grace, look_at, run.inbox.news))


def resumed(store: Store, run: Run) -> None:
    """Have the deadline of a run that goes on do what it would have done meanwhile, before anybody claims the run."""
    deadline = run.deadline
    # One without a date, of which nobody has been told, only says how long a cancel will leave: none has come.
    if deadline is not None and deadline.look_at is None and (deadline.at or deadline.told) is not None:
        deadline.look_at = store.now() + (0 if deadline.told is None else _grace(deadline))
        store.watch(run, deadline)
    pass_due(store, run)


def pass_due(store: Store, run: Run) -> None:
    """Have the deadline of a run do what it does, if it has passed."""
    deadline = run.deadline
    if deadline is None or deadline.look_at is None or deadline.look_at > store.now():
        return
    passed = _passed(run, deadline)
    step, after = rules.step(run.standing, passed), rules.passed(run.standing, passed)
    deadline.look_at = None
    match step:
        case Step.END | Step.CUT:
            _end(store, run, deadline, after, step)
        case Step.TELL:
            _tell(store, run, deadline, after)
        case Step.NOTE:
            deadline.told = 0
            run.tell(store.now(), TOLD, reason=rules.TOLD_BEFORE.format(_at(deadline)), length=after.length)
    if step in (Step.TELL, Step.NOTE):
        deadline.look_at = store.now() + _grace(deadline)
        store.watch(run, deadline)


def _passed(run: Run, deadline: Deadline) -> rules.Deadline:
    is_taken = run.cancel_seq is not None and run.cancel_seq in run.inbox.taken
    return rules.Deadline(
        deadline.told, run.cancel_seq, is_taken, deadline.grace is not None, is_cancel=deadline.at is None
    )


def _end(store: Store, run: Run, deadline: Deadline, after: Standing, step: Step) -> None:
    words = _words(run, deadline)
    is_cut = step is Step.CUT
    if run.session is not None:
        store.told[run.session, run.id] = run.inbox.news + 1
    run.error = NONE if is_cut else Raw(encode(Failure(RunTimedOut.__name__, words)))
    move = Move.CANCEL if is_cut else Move.TIME_OUT
    store.move(run, after, move, why=words if is_cut else None, reason=words, length=after.length)


def _tell(store: Store, run: Run, deadline: Deadline, after: Standing) -> None:
    is_woken = after.state is not run.state
    run.cancel_seq = deadline.told = run.inbox.add("cancel", value=_NOTE, clock=store.now()).number
    run.life.begin_early(store.now())
    why = None if is_woken else run.why
    reason = rules.TOLD.format(_at(deadline))
    store.move(run, after, Move.DUE if is_woken else TOLD, why=why, reason=reason, length=after.length)
    store.changed[run.id] = run
    store.tell(run)


def _words(run: Run, deadline: Deadline) -> str:
    if deadline.at is None:
        return rules.UNDONE
    if run.state is State.BLOCKED:
        return rules.BLOCKED.format(_at(deadline))
    has_begun = run.standing.epoch or run.standing.length
    return (rules.CUT_OFF if has_begun else rules.UNBEGUN).format(_at(deadline))


def _at(deadline: Deadline) -> str:
    assert deadline.at is not None, "a deadline without a date"
    return to_datetime(deadline.at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _grace(deadline: Deadline) -> int:
    return GRACE_SECONDS * SECOND if deadline.grace is None else deadline.grace
