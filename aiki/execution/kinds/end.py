"""The kinds `end` and `all`: let go by nothing, settled by the end of a child, or of several.

An entry takes these arrivals, and its value says no more than how they ended: the output stands with the child, and a
replay reads it again. What the body has been given once is known from there on, by whichever call it came.
"""

from __future__ import annotations

from asyncio import Future
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, TypeAlias

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import ChildFailed, RunCancelled
from aiki.core.states import State
from aiki.execution.arrivals import Arrivals
from aiki.execution.cuts import Cut, mark_error
from aiki.execution.kind import A, Asker, DurableCall, Outside, Parent, Taken, joined, shown
from aiki.inside.kin import EndOf, EndOfAll, Kin
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NULL, Arrival, ChildEnd, Entry, Failure

EndCall: TypeAlias = DurableCall[EndOf]
AllCall: TypeAlias = DurableCall[EndOfAll]

_CHILD: Final = "child"
_NUMBER: Final = attrgetter("number")


class _Ends(Generic[A]):
    """What both kinds have in common."""

    at_once = False
    may_stay_unasked = False
    through_cancel = True

    def keep(self, call: DurableCall[A], /) -> None:
        """Keep nothing: its children are what they are."""

    def start(self, call: DurableCall[A], outside: Outside, now: int, *, announce: bool) -> None:
        """Do nothing: a child ends by itself."""

    def abandon(self, call: DurableCall[A], outside: Outside) -> None:
        """Do nothing: what comes stays unread for the next wait."""

    def arguments(self, call: DurableCall[A], beside: int, /) -> Raw:
        """Return nothing: what a child was called with is told of its start."""
        return NULL

    def timeout(self, ask: A, /) -> None:
        """Return None: it has no end of its own."""

    def waits(self, ask: A, /) -> list[str]:
        """Return that ends of children are waited for."""
        return [_CHILD]


class Ends(_Ends[EndOf]):
    """Waits for the end of one child, which all who wait for it share."""

    def ask(self, body: Asker, ask: EndOf, /) -> Coroutine[Any, Any, None]:
        """Return the wait for the child's end."""
        return _known([ask.child]) if ask.child.end is not None else body.wait(self, ask, self)

    def recorded(self, entry: Entry, /) -> str:
        """Return the child's workflow, its key, and how it ended."""
        return f"end of child {keys.name_of(entry.key)} [{entry.key}], {shown(entry.value)}"

    def key(self, ask: EndOf, /) -> tuple[str, Callable[[EndOf], Exception], bytes]:
        """Return the key of the child's end."""
        return keys.of_end(ask.child.key), joined, b""

    def settle(self, call: EndCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve, or ChildFailed: what the children came to stands with them."""
        _settle(future, [call.ask.child])

    def asked(self, call: EndCall, /) -> str:
        """Return the child and its key."""
        return f"end of child {call.ask.child.workflow} [{call.key}]"

    def child(self, ask: EndOf, /) -> str:
        """Return the child."""
        return ask.child.id

    def arrived(self, call: EndCall, arrivals: Arrivals, /) -> list[Arrival] | None:
        """Return the child's end; nothing if a wait for several had it."""
        child = call.ask.child
        if child.end is not None:
            return []
        end = arrivals.end_of(child.id)
        return None if end is None else [end]

    def take(self, call: EndCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take it."""
        known = call.ask.child.end
        state = _state(arrived[0]) if known is None else known.state
        return Taken(state is State.COMPLETED, encode(state), arrived)

    def took(self, call: EndCall, ok: bool, value: bytes | Raw, family: Parent | None, /) -> bool:
        """Give the child its end."""
        assert family is not None, "it has children"
        return family.take(call.ask.child, call.key)

    def ends_wanted(self, call: EndCall, arrivals: Arrivals, /) -> int:
        """Return 1."""
        return 1

    def holds_cancel(self, call: EndCall, arrivals: Arrivals, /) -> bool:
        """Tell whether the child has been told to end, and has not yet."""
        return _is_ending(call.ask.child, arrivals)


class EndsOfAll(_Ends[EndOfAll]):
    """Waits for the ends of several children, as one."""

    def ask(self, body: Asker, ask: EndOfAll, /) -> Coroutine[Any, Any, None]:
        """Return the wait for their ends."""
        return body.wait(self, ask, self) if any(child.end is None for child in ask.children) else _known(ask.children)

    def recorded(self, entry: Entry, /) -> str:
        """Return how many there were, by how they ended."""
        return f"ends of children [{entry.key}], {shown(entry.value)}"

    def key(self, ask: EndOfAll, /) -> tuple[str, None, bytes]:
        """Return a key of all of them, in their order; each wait is one of its own."""
        form = encode([child.key for child in ask.children])
        return keys.named(keys.ALL, digest(form)), None, form

    def settle(self, call: AllCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve, or ChildFailed: what the children came to stands with them."""
        _settle(future, call.ask.children)

    def asked(self, call: AllCall, /) -> str:
        """Return the first of the children."""
        return f"ends of {len(call.ask.children)} children [{call.key}] {shown(call.form)}"

    def child(self, ask: EndOfAll, /) -> None:
        """Return None: they are several."""

    def arrived(self, call: AllCall, arrivals: Arrivals, /) -> list[Arrival] | None:
        """Return the ends that the body has not been given yet; there may be none, if other waits had them."""
        ask = call.ask
        # What has come once is not looked at again: else F children would be at each of F ends.
        while ask.left and _has_come(ask.left[-1], arrivals):
            ask.left.pop()
        if ask.left:
            return None
        if ask.come is None:
            ends = {child.id: arrivals.end_of(child.id) for child in ask.children if child.end is None}
            ask.come = sorted((end for end in ends.values() if end is not None), key=_NUMBER)
        while ask.come and arrivals.end_of(ask.come[-1].name) is not ask.come[-1]:
            ask.come.pop()
        return ask.come

    def take(self, call: AllCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take them all, but for those that other waits had meanwhile."""
        known = {child.id: child.end.state for child in call.ask.children if child.end is not None}
        unread = [arrival for arrival in arrived if arrival.name not in known]
        states = Counter(known.values()) + Counter(map(_state, unread))
        return Taken(set(states) <= {State.COMPLETED}, encode(states), unread)

    def took(self, call: AllCall, ok: bool, value: bytes | Raw, family: Parent | None, /) -> bool:
        """Give each child its end."""
        assert family is not None, "it has children"
        return not [child for child in call.ask.children if not family.take(child, call.key)]

    def ends_wanted(self, call: AllCall, arrivals: Arrivals, /) -> int:
        """Return how many of them have not ended."""
        return len({child.id for child in call.ask.children if not _has_come(child, arrivals)})

    def holds_cancel(self, call: AllCall, arrivals: Arrivals, /) -> bool:
        """Tell whether one of them has been told to end, and has not yet."""
        return any(_is_ending(child, arrivals) for child in call.ask.children)


async def _known(children: Sequence[Kin]) -> None:
    """Raise as the wait would: the body has been given all that already."""
    error = _failure(children)
    try:
        if error is not None:
            raise error
    finally:
        del error  # else it would lead back to itself by its traceback, and keep the frames of the body


def _settle(future: Future[Any], children: Sequence[Kin]) -> None:
    error = _failure(children)
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _failure(children: Sequence[Kin]) -> ChildFailed | None:
    """Return the error of the first that did not complete.

    It is marked with the delivery that has told of it, which may be an earlier one than that of the wait.
    """
    for child in children:
        end, told = child.end, child.told
        assert end is not None, "its end was waited for"
        assert told is not None, "it was told by something"
        if end.state is not State.COMPLETED:
            error = _error(child.workflow, end)
            mark_error(error, Cut(*told))
            return error
    return None


def _error(workflow: str, end: ChildEnd) -> ChildFailed:
    failure: Failure | None = decoder(Failure).decode(end.error) if end.error else None
    if end.state is State.CANCELLED:  # an error beside it is what went wrong while it took back what it had done
        cause = None if failure is None else f"{failure.type}: {failure.message}"
        failure = Failure(RunCancelled.__name__, "it did not come to its end", cause=cause)
    failure = failure or Failure("Unknown", "no error was recorded")
    return ChildFailed(
        failure.message,
        run_id=end.run_id,
        workflow=workflow,
        state=str(end.state),
        type=failure.type,
        traceback=failure.traceback,
        cause=failure.cause,
    )


def _has_come(child: Kin, arrivals: Arrivals) -> bool:
    return child.end is not None or arrivals.end_of(child.id) is not None


def _is_ending(child: Kin, arrivals: Arrivals) -> bool:
    return child.is_told and not _has_come(child, arrivals)


def _state(arrival: Arrival) -> State:
    end: ChildEnd = decoder(ChildEnd).decode(arrival.value)
    return end.state
