"""Own how events reach runs, from outside and from other runs, and how a run's inbox is read."""

from __future__ import annotations

from typing import Final

from aiki.core.errors import PayloadError
from aiki.rules import arriving
from aiki.rules.checking import check_send
from aiki.testing.memory.run import RouteKey, Run
from aiki.testing.memory.store import Store, no_run
from aiki.wire import declared
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import Inbox, InboxReply, Outcome, Send, SendOp, SendReply, Sent

_WHY: Final = {
    "full": f"it has {UNREAD_EVENTS:,} that it has not taken yet, and can have no more: send it later",
    "conflict": "another value was sent with this idempotency key",
}


def send(store: Store, request: Send) -> SendReply:
    """Bring events to runs, and say of each what became of it."""
    return SendReply([_told(store, event, _checked(store, event)) for event in request.items])


def _checked(store: Store, event: Sent) -> Outcome:
    try:
        check_send(event, room=store.room)
    except PayloadError as error:
        return Outcome("refused", message=error.message)
    return send_one(store, event)


def send_one(store: Store, event: Sent) -> Outcome:
    """Bring an event from outside to the newest retry of a run."""
    run = target_of(store, event)
    if run is None:
        return arriving.UNKNOWN
    outcome = put(store, run, event)
    if outcome == arriving.TAKEN:
        is_held = run.session is not None
        store.reach(run, [arriving.word(arriving.EVENT, event.name)])
        if is_held:
            store.tell(run, [run.inbox.rows[run.inbox.news]])
    return outcome


def send_op(store: Store, sender: Run, op: SendOp) -> list[str]:
    """Send an event for a run; return the words of what reaches that run itself by this.

    What has an outcome is not sent again, though a retry asks for it: its run was told that, and is again.
    """
    if sender.inbox.is_answered(op.id):
        return []
    run = target_of(store, op)
    outcome = arriving.UNKNOWN if run is None else put(store, run, op)
    words = []
    if run is not None and outcome == arriving.TAKEN:
        word = arriving.word(arriving.EVENT, op.name)
        if run is sender:
            words.append(word)
        else:
            store.reach(run, [word])
    sender.inbox.answer(op.id, outcome, clock=store.now())
    return [*words, arriving.OP]


def target_of(store: Store, event: Sent | SendOp) -> Run | None:
    """Return the run that an event is for: the newest retry of the one that it names."""
    run = store.runs.get(event.run_id)
    return None if run is None else run.newest


def put(store: Store, run: Run, event: Sent | SendOp) -> Outcome:
    """Put an event into the inbox of a run, or say why not; the run does not move yet."""
    return run.inbox.send(run.standing, event, clock=store.now(), takes=declared_of(store, run.route))


def declared_of(store: Store, route: RouteKey) -> frozenset[str] | None:
    """Return the names of the events that a workflow declares, None if it takes any."""
    known = store.routes.get(route)
    return None if known is None else declared.names(known.events)


def inbox(store: Store, request: Inbox) -> InboxReply:
    """Return what a run has not taken yet, or the ends of children that it has. Raises NotFound if it has ended.

    But for one of which that is asked as well.
    """
    run = store.find(request.run_id)
    if run.is_over and not request.ended:
        raise no_run(request.run_id)
    reply = run.inbox.ends(request.after, run.generation) if request.ends else run.inbox.page(request.after)
    reply.wanted = run.standing.wanted
    return reply


def _told(store: Store, event: Sent, outcome: Outcome) -> Outcome:
    """Return the outcome with words for people."""
    run = f"run {event.run_id} takes no event {event.name!r}"
    match outcome.result:
        case "unknown":
            return Outcome("unknown", message=no_run(event.run_id).message)
        case "ended":
            return Outcome("ended", outcome.state, f"{run}: it is {outcome.state}")
        case "refused" if outcome.message is None:
            return _undeclared(store, event)
        case "full" | "conflict":
            return Outcome(outcome.result, message=f"{run}: {_WHY[outcome.result]}")
        case _:
            return outcome


def _undeclared(store: Store, event: Sent) -> Outcome:
    run = target_of(store, event)
    assert run is not None, "a run that there is not refuses an event"
    names = declared_of(store, run.route) or frozenset()
    return Outcome("unknown", message=declared.unknown(run.workflow, event.name, names))
