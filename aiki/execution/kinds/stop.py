"""The kind `stop`: a child is told to end by an op in the next unit, settled by its outcome, which is an arrival."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Coroutine
from typing import Any, TypeAlias

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import UsageError
from aiki.core.ids import derived_id
from aiki.execution.kind import Asker, DurableCall, Outside, Taken, shown
from aiki.execution.kinds.apart import Op
from aiki.inside.kin import Stop
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NULL, Arrival, Entry, Outcome, StopOp

StopCall: TypeAlias = DurableCall[Stop]


class Stops(Op[Stop]):
    """Children that a run tells to end."""

    def ask(self, body: Asker, ask: Stop, /) -> Coroutine[Any, Any, None]:
        """Return the wait until it has been told."""
        return body.wait(self, ask, self)

    def recorded(self, entry: Entry, /) -> str:
        """Return the child's workflow, the key, and what became of it."""
        return f"cancel of child {keys.name_of(entry.key)} [{entry.key}] came to {shown(entry.value)}"

    def key(self, ask: Stop, /) -> tuple[str, None, bytes]:
        """Return a key of the child and the reason; each is one of its own."""
        form = encode([ask.child.key, ask.reason])
        return keys.of_input(keys.STOP, ask.child.workflow, digest(form)), None, form

    def id(self, call: StopCall, /) -> str:
        """Return that which is derived from the call."""
        return call.ask.id

    def keep(self, call: StopCall, /) -> None:
        """Name it by its call."""
        call.ask.id = derived_id(*call.ask.sender, call.key, milliseconds=call.asked_at // 1_000)

    def start(self, call: StopCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Tell the child, unless an earlier claim has: then the outcome is there."""
        ask = call.ask
        if outside.arrivals.outcome(ask.id) is None:
            outside.send(StopOp(ask.id, ask.child.id, ask.reason))

    def arguments(self, call: StopCall, beside: int, /) -> Raw:
        """Return nothing: its key says which child it is for."""
        return NULL

    def settle(self, call: StopCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve, or UsageError if the child is not the run's own; one that has ended already stays as it is."""
        outcome: Outcome = decoder(Outcome).decode(value)
        if outcome.result == "refused":
            why = outcome.message or "no reason given"
            future.set_exception(UsageError(f"child {call.ask.child.run_id} cannot be cancelled: {why}"))
        else:
            future.set_result(None)

    def asked(self, call: StopCall, /) -> str:
        """Return the child and the reason."""
        return f"cancel of child {call.ask.child.workflow} [{call.key}] with {shown(call.form)}"

    def take(self, call: StopCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take the outcome."""
        (outcome,) = arrived
        return Taken(decoder(Outcome).decode(outcome.value).result == "taken", outcome.value, arrived)
