"""Own what units do to families: children are started, found by their keys, cancelled, as their parents hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki.rules import arriving, families
from aiki.rules.enqueueing import is_retried
from aiki.testing.memory import cancels, enqueue
from aiki.testing.memory.run import Link, Run
from aiki.testing.memory.store import Store, Telling
from aiki.wire.messages import CancelNote, Outcome, Recorded, Started, StartOp, StopOp, Unit

# -- starts


def refusal(store: Store, run: Run, unit: Unit) -> Recorded | None:
    """Return why a unit cannot start what it does; None if it can."""
    if not unit.starts:
        return None
    if families.is_too_deep(run.depth):
        return families.TOO_DEEP
    foreign = (op.id for op in unit.starts if _is_foreign(store, run, op))
    return next((Recorded("refused", families.FOREIGN.format(id)) for id in foreign), None)


def _is_foreign(store: Store, run: Run, op: StartOp) -> bool:
    """Tell whether the id of a start is another run's: one with a key may stand for whoever has that."""
    key = (op.workflow, op.options.key or "")
    return op.id in store.runs and op.id not in run.children and key not in store.keys


def start(store: Store, run: Run, ops: Sequence[StartOp]) -> list[str]:
    """Start children; return the words of what reaches the run by that: outcomes of those with keys."""
    return [word for op in ops for word in _start(store, run, op)]


def _start(store: Store, run: Run, op: StartOp) -> list[str]:
    if op.options.key is None:
        if op.id not in run.children:
            _bear(store, run, op)
        return []
    if run.inbox.is_answered(op.id):
        return []
    run.inbox.answer(op.id, _meet(store, run, op), clock=store.now())
    return [arriving.OP]


def _meet(store: Store, run: Run, op: StartOp) -> Started:
    """Return what a start with a key stands for."""
    new = families.child(op, priority=run.priority)
    holder = enqueue.held(store, new)
    if holder is None:
        return Started("started", _bear(store, run, op).id)
    known = enqueue.stored(holder)
    met = families.meet(new, known, _waiting_for(run))
    if met.result != "existing":
        return met
    if is_retried(new, known):
        answer = enqueue.retry(store, new, holder)
        if answer.error is not None:
            return Started("conflict", answer.id, answer.error.message)
        met = Started("existing", answer.id)
    _attach(store, run, op, store.runs[met.run_id])
    return met


def _bear(store: Store, run: Run, op: StartOp) -> Run:
    child = enqueue.bear(store, families.child(op, priority=run.priority))
    child.parent, child.parent_generation, child.depth = run, run.generation, run.depth + 1
    run.children[op.id] = Link(run, op.id, child, True, op.parent_close, run.generation, child.created_at)
    return child


def _attach(store: Store, run: Run, op: StartOp, child: Run) -> None:
    """Have a run hear of the end of another one, which it has not started."""
    link = Link(run, op.id, child, False, op.parent_close, run.generation, store.created_at())
    run.children[op.id] = link
    child.hearers.append(link)
    if child.is_over:
        store.telling.append(Telling(run, op.id, run.generation, child))


def _waiting_for(run: Run) -> set[str]:
    """Return all that wait for a run, itself among them, and for who waits."""
    found: set[str] = set()
    left = [run]
    while left:
        one = left.pop()
        if one.id not in found:
            found.add(one.id)
            left += [link.parent for link in one.hearers]
            left += [] if one.parent is None else [one.parent]
    return found


# -- stops


@dataclass(frozen=True, slots=True)
class Stop:
    """A child that a unit cancels, and what becomes of that."""

    op: StopOp
    child: Run | None
    outcome: Outcome


def look(store: Store, run: Run, ops: Sequence[StopOp]) -> list[Stop]:
    """Return what is to become of cancels, but for those that were done before."""
    return [_look(run, op) for op in ops if not run.inbox.is_answered(op.id)]


def _look(run: Run, op: StopOp) -> Stop:
    link = run.children.get(op.run_id)
    child = None if link is None else link.child
    is_owned = link is not None and link.owned
    return Stop(op, child, families.stopped(None if child is None else child.state, is_owned=is_owned))


def answer(store: Store, run: Run, stops: Sequence[Stop]) -> list[str]:
    """Let a run hear what becomes of its cancels; return the words of that."""
    for stop in stops:
        run.inbox.answer(stop.op.id, stop.outcome, clock=store.now())
    return [arriving.OP] * len(stops)


def stop(store: Store, run: Run, stops: Sequence[Stop]) -> None:
    """Cancel the children that can be."""
    for one in stops:
        if one.child is not None and one.outcome.result == "taken":
            cancels.cancel(store, one.child, CancelNote(why=one.op.reason, actor=f"run {run.id}"))
