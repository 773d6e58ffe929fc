"""The kind `send`: an op in the next unit, settled by its outcome, which is an arrival in the sender's own inbox.

Its id is derived from the call, so a send that is replayed before its outcome is recorded is the same send.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import RunEnded, SendFailed
from aiki.core.ids import derived_id
from aiki.execution.kind import Asker, DurableCall, Outside, Taken, shown
from aiki.execution.kinds.apart import Op
from aiki.inside.asks import Send
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Arrival, Entry, Outcome, SendOp

SendCall: TypeAlias = DurableCall[Send]
_WHY: Final = {
    "ended": "it has ended",
    "full": "it has too many unread events",
    "conflict": "this idempotency key came with another value before",
    "unknown": "there is no such run in this namespace",
    "refused": "it takes no such event",
}


class Sends(Op[Send]):
    """Events that a run sends."""

    def ask(self, body: Asker, ask: Send, /) -> Coroutine[Any, Any, None]:
        """Return the wait for the send's outcome. Awaiting raises SendFailed if the event was not taken."""
        return body.wait(self, ask, self)

    def recorded(self, entry: Entry, /) -> str:
        """Return the event, its key, and what became of it."""
        came_to = "was taken" if entry.ok else f"was not taken: {shown(entry.value)}"
        return f"send of event {keys.name_of(entry.key)} [{entry.key}] {came_to}"

    def key(self, ask: Send, /) -> tuple[str, None, bytes]:
        """Return a key of the event, whom it is sent to, and what it carries; each send is one of its own."""
        form = encode([ask.run_id, Raw(ask.bound.form), ask.idempotency_key])
        return keys.of_input(keys.SEND, ask.bound.event.name, digest(form)), None, form

    def id(self, call: SendCall, /) -> str:
        """Return that which is derived from the call."""
        return call.ask.id

    def keep(self, call: SendCall, /) -> None:
        """Name the send by its call."""
        call.ask.id = derived_id(*call.ask.sender, call.key, milliseconds=call.asked_at // 1_000)

    def start(self, call: SendCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Send it, unless an earlier claim has: then its outcome is there."""
        ask = call.ask
        if outside.arrivals.outcome(ask.id) is None:
            key, bound = ask.idempotency_key, ask.bound
            value = Raw(bound.encoded)
            outside.send(SendOp(ask.id, ask.run_id, bound.event.name, value, key, key and bound.digest))

    def arguments(self, call: SendCall, beside: int, /) -> Raw:
        """Return what the event carries."""
        return call.called.of(call.ask.bound.form, beside)

    def settle(self, call: SendCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve with nothing, or SendFailed."""
        if ok:
            future.set_result(None)
        else:
            future.set_exception(_failure(call.ask, decoder(Outcome).decode(value)))

    def asked(self, call: SendCall, /) -> str:
        """Return the event, its key, and whom it is sent to with what."""
        return f"send of event {call.ask.bound.event.name} [{call.key}]{call.words()}"

    def take(self, call: SendCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take the outcome."""
        (outcome,) = arrived
        result = decoder(Outcome).decode(outcome.value).result
        return Taken(result in ("taken", "repeated"), outcome.value, arrived)


def _failure(ask: Send, outcome: Outcome) -> SendFailed:
    name = ask.bound.event.name
    why = outcome.message or _WHY.get(outcome.result, outcome.result)
    kind = RunEnded if outcome.result == "ended" else SendFailed
    state = None if outcome.state is None else str(outcome.state)
    told = f"{why} ({state})" if outcome.result == "ended" and state else why
    message = f"run {ask.run_id} did not take event {name!r}: {told}"
    return kind(message, run_id=ask.run_id, event=name, result=outcome.result, state=state)
