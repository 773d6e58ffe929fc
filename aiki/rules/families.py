"""Own what starts and cancels of children mean: how they look, what becomes of them, what a child has of its parent.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Final

from msgspec import structs

from aiki.core.errors import PayloadError, UsageError
from aiki.core.states import TERMINAL, State
from aiki.rules.checking import check_run, is_derived, is_uuid
from aiki.rules.enqueueing import GONE, Stored
from aiki.wire.limits import FAMILY_DEPTH
from aiki.wire.messages import NewRun, Outcome, Recorded, Started, StartOp, Unit
from aiki.wire.messages.options import ParentClose

TOO_DEEP: Final = Recorded(
    "refused",
    f"it has {FAMILY_DEPTH} ancestors, and can start no child: a workflow that starts itself has to end somewhere",
)
FOREIGN: Final = "the id {} of a child that it starts is in use by another run"
_CONFLICT: Final = "key {!r} of workflow {!r} was used with another input by run {}"
_GONE: Final = (
    "key {!r} of workflow {!r} is that of run {}, {}: start it with another key, or with on_conflict='restart'"
)
_CIRCLE: Final = (
    "run {} has key {!r} of workflow {!r} and waits itself, or one that it has started, for this run:"
    " start it with another key, or without one"
)


def check(unit: Unit, *, room: int) -> None:
    """Raise PayloadError if what a unit starts and cancels cannot be, or could not be brought to a worker later.

    What `check_unit` looks at is not looked at here.
    """
    for op in unit.starts:
        _check_start(op, room)
        if op.id == unit.fence.run_id:
            raise PayloadError("a run starts itself: its id cannot be that of its child")
    for stop in unit.stops:
        _check_op_id(stop.id)
        if not is_uuid(stop.run_id) or "\0" in (stop.reason or ""):
            raise PayloadError("a cancel names a child by the id of its start, a UUID, and its reason holds no NUL")
    ids = [op.id for op in unit.ops] + [op.id for op in unit.starts] + [op.id for op in unit.stops]
    if len(set(ids)) < len(ids):
        raise PayloadError("a unit does two things with one id")


def _check_start(op: StartOp, room: int) -> None:
    _check_op_id(op.id)
    if op.options.send is not None:
        raise PayloadError("the start of a child sends no event: send it one after that")
    try:
        check_run(child(op, priority=0), room=room)
    except UsageError as error:
        raise PayloadError(f"a child of workflow {op.workflow[:80]!r} cannot be started: {error.message}") from error


def _check_op_id(id: str) -> None:
    if not is_derived(id):
        raise PayloadError(f"the id {id[:64]!r} is not one of a call: a UUID of version 7 is derived from its key")


def child(op: StartOp, *, priority: int) -> NewRun:
    """Return the run that a start makes, of a parent of this priority: it has the same if nothing else is said."""
    options = op.options
    if options.priority is None and priority:
        options = structs.replace(options, priority=priority)
    return NewRun(op.id, op.workflow, op.version, op.input, options, op.digest)


def is_too_deep(depth: int) -> bool:
    """Tell whether a run that has so many ancestors can start no child."""
    return depth >= FAMILY_DEPTH


def meet(run: NewRun, known: Stored, waiting: Set[str]) -> Started:
    """Return what becomes of the start of a run whose key another holds; `waiting` are all that wait for its parent.

    The parent itself is among these: it would wait for its own end. What one that was deleted had come to nobody knows.
    """
    if known.digest != run.digest and run.options.on_conflict != "existing":
        return Started("conflict", known.id, _CONFLICT.format(run.options.key, run.workflow, known.id))
    if known.state is None:
        return Started("conflict", known.id, _GONE.format(run.options.key, run.workflow, known.id, GONE))
    if known.id in waiting:
        return Started("circle", known.id, _CIRCLE.format(known.id, run.options.key, run.workflow))
    return Started("existing", known.id)


def waiting_for(parent_id: str, waiting: Mapping[str, Set[str]], attached: Iterable[tuple[str, str]]) -> Set[str]:
    """Return all that wait for a run, itself among them, and for who waits.

    `waiting` says so as it stands, and `attached` which runs wait since for which others, each known to `waiting`.
    """
    found = {parent_id, *waiting.get(parent_id, ())}
    left = list(attached)
    while new := [who for who, whom in left if whom in found and who not in found]:
        for who in new:
            found |= {who, *waiting.get(who, ())}
    return found


def stopped(state: State | None, *, is_owned: bool) -> Outcome:
    """Return what becomes of a cancel of a child that stands so; None if there is none of that id.

    A run that another has started, and that was only found by its key, is not the parent's to end.
    """
    if state is None:
        return Outcome("unknown", message="it has started no such child, or that is gone")
    if state in TERMINAL:
        return Outcome("ended", state)
    if not is_owned:
        return Outcome("refused", message="another run has started it, or nobody: it is not this run's to cancel")
    return Outcome("taken")


def hears(state: State, generation: int, *, asked_in: int) -> bool:
    """Tell whether a run that stands so hears of the end of another, for which a generation of it has asked."""
    return state not in TERMINAL and generation == asked_in


def closes(parent: State, parent_close: ParentClose, child: State, *, is_told: bool, is_child_told: bool) -> bool:
    """Tell whether a child is cancelled with what its parent has come to: an end, or a cancel that it has taken in.

    `is_told` and `is_child_told` say whether they were told to end. `wait` leaves to the parent's body how its children
    end, and counts no more when that is cancelled.
    """
    if child in TERMINAL or is_child_told:
        return False
    return parent_close == "cancel" or (parent_close == "wait" and (is_told or parent is State.CANCELLED))
