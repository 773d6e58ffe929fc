"""The kind `start`: a child that is started by an op in the next unit.

Without a key it is answered at once, and held until the body rests: its id is known, and its end tells the rest.
All that are let go at one rest are listed by one entry, of the kind `starts`, so that no replay starts them again, not
even when they have been pruned. With a key there is an outcome, which is an arrival: whose run has the key.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Raw

from aiki.core import keys
from aiki.core.errors import Conflict, UsageError
from aiki.execution.called import Called
from aiki.execution.family import id_of, op_of, read_starts
from aiki.execution.kind import Asker, Cancellable, DurableCall, Outside, Parent, Taken, shown
from aiki.execution.kinds.apart import Op
from aiki.inside.kin import Kin, Start
from aiki.wire.codec import decoder
from aiki.wire.messages import Arrival, Entry, Started

StartCall: TypeAlias = DurableCall[Start]
_SHOWN: Final = 3


class Starts(Op[Start]):
    """Children that a run starts."""

    def ask(self, body: Asker, ask: Start, /) -> Coroutine[Any, Any, Kin]:
        """Return what gives the child. Awaiting raises Conflict if its key was used with another input."""
        body.family.ask(ask)
        return self._held(body, ask) if ask.options.key is None else body.wait(self, ask, self)

    async def _held(self, body: Asker, ask: Start) -> Kin:
        return body.family.hold(body.hold(self, ask))

    def recorded(self, entry: Entry, /) -> str:
        """Return the child's workflow, its key, and what became of the start."""
        return f"start of workflow {keys.name_of(entry.key)} [{entry.key}] came to {shown(entry.value)}"

    def key(self, ask: Start, /) -> tuple[str, Callable[[Start], Exception] | None, bytes]:
        """Return a key of the workflow and its idempotency key, which is shared, or else its input."""
        key = ask.options.key
        if key is not None:
            return keys.shared(keys.START, ask.workflow, key), _conflict, ask.form
        return keys.of_input(keys.START, ask.workflow, ask.digest), None, ask.form

    def id(self, call: StartCall, /) -> str:
        """Return that which is derived from the call."""
        return id_of(call)

    def keep(self, call: StartCall, /) -> None:
        """Keep nothing: its input was encoded when it was asked."""

    def start(self, call: StartCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Start it, unless an earlier claim has: then its outcome is there."""
        if outside.arrivals.outcome(id_of(call)) is None:
            outside.send(op_of(call))

    def arguments(self, call: StartCall, beside: int, /) -> Raw:
        """Return the beginning of its input."""
        return call.called.of_input(call.form)

    def settle(self, call: StartCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve with the child, which is one for all who share the key, or Conflict, or UsageError."""
        ask = call.ask
        if not ok:
            future.set_exception(_refused(ask, decoder(Started).decode(value)))
            return
        assert ask.child is not None, "the start was taken in"
        future.set_result(ask.child)

    def asked(self, call: StartCall, /) -> str:
        """Return the workflow, the key and the input of the start."""
        return f"start of workflow {call.ask.workflow} [{call.key}]{call.words()}"

    def take(self, call: StartCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take the outcome."""
        (outcome,) = arrived
        result = decoder(Started).decode(outcome.value).result
        return Taken(result in ("started", "existing"), outcome.value, arrived)

    def took(self, call: StartCall, ok: bool, value: bytes | Raw, family: Parent | None, /) -> bool:
        """Take in whose run has the key."""
        if ok:
            assert family is not None, "its start was asked of it"
            started = decoder(Started).decode(value)
            family.found(call, started.run_id, is_owned=started.result == "started")
        return True


class StartLists:
    """That starts without keys were let go."""

    def recorded(self, entry: Entry, /) -> str:
        """Return the keys of the starts, the first ones."""
        listed = [key for key, _, _ in read_starts(entry.value)]
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        return f"starts of children [{', '.join(listed[:_SHOWN])}]{more}"

    def is_next(self, entry: Entry, family: Parent | None, /) -> bool:
        """Tell whether the body has asked for all of them."""
        return family is not None and family.lists(entry.value)

    def deliver(self, entry: Entry, cancelling: Cancellable, family: Parent | None, /) -> None:
        """Hold them no longer."""
        assert family is not None, "it has them"
        family.confirm(entry.value)


def started(calls: Sequence[StartCall], value: Raw, at: int, turns: int | None, asked: int, called: Called) -> Entry:
    """Return the entry of starts that are let go."""
    told = called.of_inputs(call.form for call in calls)
    return Entry(keys.named(keys.STARTS, str(len(calls))), True, value, at, turns, asked, (), None, told)


def _conflict(ask: Start) -> Conflict:
    return _used(ask, "in this run")


def _used(ask: Start, where: str) -> Conflict:
    return Conflict(
        f"a child of workflow {ask.workflow!r} was started with idempotency key {ask.options.key!r} and another input"
        f" {where}",
        hint="use one key for one input",
    )


def _refused(ask: Start, outcome: Started) -> Conflict | UsageError:
    if outcome.result == "circle":
        return UsageError(
            f"run {outcome.run_id}, which has idempotency key {ask.options.key!r}, is an ancestor of this run or waits"
            " for it: neither would ever end",
            hint="use another key, or hand the child's result down as a parameter",
        )
    return _used(ask, f"by run {outcome.run_id}")
