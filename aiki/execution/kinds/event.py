"""The kind `event`: let go by nothing, settled by the next arrivals of its names, or by its own timeout.

Its entry holds what came, and names the arrivals that it consumes: both become durable in one commit. At the timeout
the entry is not ok, and nothing is consumed.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

from msgspec import Raw

from aiki.core import keys
from aiki.core.canonical import digest
from aiki.core.errors import EventTimeout, PayloadError
from aiki.core.moments import SECOND, to_datetime
from aiki.execution.arrivals import Arrivals
from aiki.execution.kind import Asker, DurableCall, Outside, Taken, shown
from aiki.execution.kinds.apart import Apart
from aiki.inside.asks import Wait
from aiki.inside.event import Message
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NULL, Arrival, Entry
from aiki.wire.packing import payload_bytes

WaitCall: TypeAlias = DurableCall[Wait[Any]]

_One: TypeAlias = "list[tuple[str, int, Raw]]"
"""The name of an event, its time, and what it carries. Of several there is what they carry, and no more: so ten
thousand of them fit."""
_TOO_MUCH: Final = b'"too much"'


class Events(Apart[Wait[Any]]):
    """Waits for events."""

    def ask(self, body: Asker, ask: Wait[Any], /) -> Coroutine[Any, Any, Any]:
        """Return the wait for the events. Awaiting raises EventTimeout when they did not come in time."""
        return body.wait(self, ask, self)

    def recorded(self, entry: Entry, /) -> str:
        """Return which events were waited for, and what came."""
        came = f"came {shown(entry.value)}" if entry.ok else "did not come in time"
        return f"event {keys.name_of(entry.key)} [{entry.key}] {came}"

    def key(self, ask: Wait[Any], /) -> tuple[str, None, bytes]:
        """Return a key of the names, how many are to come, and the timeout; each wait is one of its own."""
        names = _names(ask)
        form = encode([names, ask.count, ask.timeout])
        return keys.of_input(keys.EVENT, keys.of_any(names), digest(form)), None, form

    def keep(self, call: WaitCall, /) -> None:
        """Keep nothing: what it is asked with does not change."""

    def start(self, call: WaitCall, outside: Outside, now: int, *, announce: bool) -> None:
        """Do nothing: whoever sends needs no wait to be there."""

    def abandon(self, call: WaitCall, outside: Outside) -> None:
        """Do nothing: what comes stays unread for the next wait."""

    def arguments(self, call: WaitCall, beside: int, /) -> Raw:
        """Return nothing: its key says which event it is."""
        return NULL

    def settle(self, call: WaitCall, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve with what came, or EventTimeout. What does not fit its event's type raises at the caller."""
        ask = call.ask
        if not ok:
            future.set_exception(_too_much(ask) if bytes(value) == _TOO_MUCH else _timed_out(ask))
            return
        try:
            answer = _read(ask, value)
        except BaseException as error:  # noqa: BLE001 - decoding runs the user's validators
            future.set_exception(error)
        else:
            future.set_result(answer)

    def asked(self, call: WaitCall, /) -> str:
        """Return which events are waited for."""
        return f"event {'|'.join(_names(call.ask))} [{call.key}]"

    def timeout(self, ask: Wait[Any], /) -> int | None:
        """Return that of the wait."""
        return ask.timeout

    def waits(self, ask: Wait[Any], /) -> list[str]:
        """Return the events by their names."""
        return [keys.named(keys.EVENT, name) for name in _names(ask)]

    def arrived(self, call: WaitCall, arrivals: Arrivals, /) -> list[Arrival] | None:
        """Return the oldest events of its names, if there are enough."""
        return arrivals.events(_names(call.ask), call.ask.count) or None

    def take(self, call: WaitCall, arrived: list[Arrival], room: int, /) -> Taken:
        """Take them all. What together is larger than any payload may be cannot be told at once, and stays unread."""
        if call.ask.count == 1:
            (one,) = arrived
            return Taken(True, encode([(one.name, one.at, one.value)]), arrived)
        if sum(len(arrival.value) + 1 for arrival in arrived) >= payload_bytes(room):
            return Taken(False, _TOO_MUCH, [])
        return Taken(True, encode([arrival.value for arrival in arrived]), arrived)


def _read(ask: Wait[Any], value: bytes | Raw) -> Any:
    """Return what the body gets for what came."""
    if ask.count > 1:
        (event,) = ask.events
        return [event.read(raw) for raw in decoder(list[Raw]).decode(value)]
    one: _One = decoder(list[tuple[str, int, Raw]]).decode(value)
    ((name, at, raw),) = one
    event = next(event for event in ask.events if event.name == name)
    return ask.answer(Message(event, event.read(raw), to_datetime(at)))


def _names(ask: Wait[Any]) -> list[str]:
    return [event.name for event in ask.events]


def _described(ask: Wait[Any]) -> str:
    names = " or ".join(repr(name) for name in _names(ask))
    return f"event {names}" if ask.count == 1 else f"{ask.count} events {names}"


def _timed_out(ask: Wait[Any]) -> EventTimeout:
    seconds = (ask.timeout or 0) / SECOND
    verb = "has" if ask.count == 1 else "have"
    message = f"{_described(ask)} {verb} not come within {seconds:g} s"
    return EventTimeout(message, events=tuple(_names(ask)), seconds=seconds)


def _too_much(ask: Wait[Any]) -> PayloadError:
    return PayloadError(
        f"{_described(ask)} are together larger than one payload may be; none was taken",
        hint="wait for fewer at a time",
    )
