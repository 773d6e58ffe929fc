"""Own the words for how a claim ends: what is written of a body that is over, stuck, or near or beyond its limits."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import AikiError, PayloadError, RunTimedOut, UsageError
from aiki.core.keys import EVENT, kind_of, said_in
from aiki.core.states import Move
from aiki.execution.body import Body
from aiki.execution.cuts import cut_of
from aiki.execution.failures import encode_failure, failure_of
from aiki.execution.faults import Faults, tell_unseen, unawaited
from aiki.execution.kinds.cancel import cancel_of
from aiki.execution.outcome import Outcome
from aiki.execution.sharing import WORD
from aiki.wire.limits import WHY_CHARS
from aiki.wire.messages import NONE, End, Failure
from aiki.wire.packing import check_payload

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution.bounds import Limits
    from aiki.execution.outbox import Outbox
    from aiki.execution.resting import Wake
    from aiki.execution.sharing import Sharing
    from aiki.inside.onward import Next
    from aiki.wire.messages import Claimed, Entry, Unit


def of_body(body: Body, workflow: Workflow[Any, Any], *, room: int) -> End:
    """Return the end of a run whose body has ended; what it did wrong on the way is the reason.

    A result that does not fit its type, or a message of `room` bytes, fails the run.
    """
    if body.outcome is Outcome.DIVERGED:
        return blocked(body.diff)
    if body.interrupted_by is not None:
        return cancelled(body, body.interrupted_by, body.error)
    if body.outcome is Outcome.CONTINUED and body.onward is not None:
        return continued(body.onward, body.faults, room=room)
    if body.error is not None:
        return failed(body.error, body.faults)
    assert body.outcome is Outcome.RETURNED, body.outcome
    try:
        output = workflow.result.encode(body.result)
        check_payload(len(output), f"the result of workflow {workflow.name!r}", room=room)
        return End(Move.COMPLETE, output=Raw(output), why=_faults(body.faults))
    except AikiError as error:
        return failed(unawaited(body.result) or error, body.faults)


def continued(next: Next, faults: Faults, *, room: int) -> End:
    """Return the end of a claim whose run goes on in its next generation; an input that fits no message fails it."""
    try:
        check_payload(len(next.input), f"the input that {next.called} was given", room=room)
    except AikiError as error:
        return failed(error, faults)
    return End(Move.CONTINUE, input=Raw(next.input), version=next.version, why=_faults(faults))


def stuck(body: Body, outbox: Outbox, limits: Limits) -> End:
    """Return the end of a run whose body may not go on, since its journal is too large, or else cannot."""
    if outbox.is_too_large():
        return _broken(body, _too_large(outbox.length, outbox.size, limits))
    return deadlocked(body)


def deadlocked(body: Body) -> End:
    """Return the end of a run whose body waits for what cannot come."""
    tell_unseen(body.loop)
    error = UsageError(
        "the workflow body waits for something that can never come: it waits at " + "; ".join(body.waiting_lines()),
        hint="wait for tasks, timers, or for what another branch of the same body does",
    )
    return _broken(body, error)


def near(outbox: Outbox, limits: Limits) -> str:
    """Return the warning of a run whose journal comes near to what a run may have."""
    return (
        f"its journal has {outbox.length} entries and {outbox.size} bytes; a run fails at {limits.entries_hard} or"
        f" {limits.bytes_hard}: before that let it go on by workflow.continue_as_new(run, ...), or split its work"
    )


def stubborn(line: str) -> str:
    """Return the error of a run that leaves memory and whose body stays, at this line."""
    return f"its body cannot be unwound, it swallows every exception at {line}"


def parked(
    wake: Wake, body: Body, workflow: Workflow[Any, Any], sharing: Sharing, *, seen: int, why: str | None
) -> End:
    """Return the end of a claim whose run leaves memory. It holds only if nothing has come but what was `seen`.

    One for which something is here already, though it had no slot to take it, is given back.
    """
    if (body.is_waiting and body.is_answered()) or sharing.is_told:
        return End(Move.RELEASE)
    waits = body.waits()
    if sharing.is_waiting and not body.is_cancelled:
        waits.append(WORD)
    if workflow.events is not None:
        known = {event.name for event in workflow.events}
        body.faults.add_undeclared([said_in(word) for word in waits if kind_of(word) == EVENT], known)
    return End(wake.move, due_at=wake.at, why=why, seen=seen, waits=waits, ends=body.ends_wanted())


def failed(error: BaseException, faults: Faults | None = None) -> End:
    """Return the end of a run that failed by `error`, with the faults of its body."""
    cut = cut_of(error)
    failure = replace(failure_of(error), cut=None if cut is None else cut.place)
    return End(Move.FAIL, error=Raw(encode_failure(failure)), why=_faults(faults))


def cancelled(body: Body, entry: Entry, error: BaseException | None) -> End:
    """Return the end of a run whose body was interrupted, however it has ended then; `entry` is that of the cancel.

    What went wrong while it took back what it had done stands beside the reason.
    """
    cancel = cancel_of(entry)
    raised = None if isinstance(error, CancelledError | None) else failure_of(error)
    if cancel.reason == "timeout":
        cause = None if raised is None else f"{raised.type}: {raised.message}"
        failure = Failure(RunTimedOut.__name__, cancel.words(), cause=cause)
        return End(Move.FAIL, error=Raw(encode_failure(failure)), why=_faults(body.faults))
    beside = NONE if raised is None else Raw(encode_failure(raised))
    return End(Move.CANCEL, error=beside, why=_cut(cancel.words()))


def blocked(why: str) -> End:
    """Return the end of a claim whose run needs a person."""
    return End(Move.DIVERGE, why=_cut(why))


def cut_short(claimed: Claimed, read: int) -> End:
    """Return the end of a claim whose journal has fewer entries than the claim says: it has `read` of them."""
    return blocked(f"its journal has {claimed.length} entries and ends at {read}")


def unreadable(error: AikiError) -> End:
    """Return the end of a claim whose journal cannot be brought to a worker: a person must make that possible."""
    if isinstance(error, PayloadError):
        return End(Move.OVERSIZE, why=_cut(f"oversize: {error.message}; {error.hint}"))
    return blocked(f"its journal cannot be read: {error.message}")


def refused(unit: Unit, end: End | None, reason: str) -> End | None:
    """Return the end of a run of which the daemon refuses a `unit`; `end` is how its claim was to end, if it was.

    None if not even its failure can be written: the lease's end or a person decides.
    """
    if end is not None and end.move is Move.FAIL and not unit.entries:
        return None
    return failed(UsageError(f"what the run recorded was refused: {reason}"))


def conflicting(end: End | None) -> End | None:
    """Return the end of a claim whose body went on with what its journal or inbox does not hold: it is to be replayed.

    None if it was to be given back anyway.
    """
    if end is not None and end.move is Move.RELEASE:
        return None
    return End(Move.RELEASE, why="its journal or inbox holds something else")


def _broken(body: Body, error: AikiError) -> End:
    """Return the end of a run whose body cannot go on; one that is cancelled ends so all the same."""
    if body.interrupted_by is not None:
        return cancelled(body, body.interrupted_by, error)
    return failed(error, body.faults)


def _too_large(entries: int, size: int, limits: Limits) -> UsageError:
    """Return the error of a run whose journal has outgrown its limits; `size` is in bytes."""
    return UsageError(
        f"the run's journal has {entries} entries and {size} bytes, which is more than a run may have"
        f" ({limits.entries_hard} entries, {limits.bytes_hard} bytes): split its work over several runs",
        hint="if run.journal_size.entries > 4_000: workflow.continue_as_new(run, ...)",
    )


def _faults(faults: Faults | None) -> str | None:
    return _cut(f"the body has faults: {faults}") if faults else None


def _cut(why: str) -> str:
    """Leave out the middle of a long text: a diff ends with what to do. What cannot be stored is escaped."""
    why = why.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    if len(why) <= WHY_CHARS:
        return why
    half = WHY_CHARS // 2 - 4
    return f"{why[:half]}\n ...\n{why[-half:]}"
