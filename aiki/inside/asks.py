"""Own what a body asks for of events: a wait for some, and a send of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from aiki.core.duration import Duration, to_microseconds
from aiki.core.errors import UsageError
from aiki.core.ids import parse_run_id
from aiki.core.keys import EVENT, SEND
from aiki.inside.durable import Ask
from aiki.inside.event import Awaited, BoundEvent, Event, Message, check_event
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages.options import check_key

R = TypeVar("R")


class Wait(Ask[Awaitable[R]]):
    """A wait for `count` events of these; all of them or, once the timeout has passed, none."""

    kind: ClassVar[str] = EVENT
    events: tuple[Event[Any], ...]
    count: int
    timeout: int | None
    """In microseconds."""
    answer: Callable[[Message[Any]], R]
    """What the body gets for the one that has come; for several it gets what they carry."""
    method: str

    def __str__(self) -> str:
        return f"run.{self.method}()"


class Send(Ask[Awaitable[None]]):
    """An event that is sent to a run."""

    kind: ClassVar[str] = SEND
    run_id: str
    bound: BoundEvent[Any]
    idempotency_key: str | None
    sender: tuple[str, int, int]
    """The origin's id, its generation and its attempt: with the key of the call they make the id of the send."""
    id: str = ""

    def __str__(self) -> str:
        return "run.send()"


def wait_for(event: Awaited[Any], *, count: int | None, timeout: Duration | None) -> Wait[Any]:
    """Return the ask for the next events of one name. Raises UsageError on what cannot be waited for."""
    if count is not None and (type(count) is not int or not 1 <= count <= UNREAD_EVENTS):
        raise UsageError(f"wait_for(count={count!r}): it must be a whole number from 1 to {UNREAD_EVENTS:,}")
    events = (_checked(event, "wait_for"),)
    number = 1 if count is None else count
    return Wait(events, number, _microseconds(timeout), _value if count is None else _values, "wait_for")


def wait_any(events: Sequence[Event[Any]], *, timeout: Duration | None) -> Wait[Any]:
    """Return the ask for the next event of any of these. Raises UsageError on what cannot be waited for."""
    if not events:
        raise UsageError("wait_any() was given no event to wait for", hint="await run.wait_any(approved, rejected)")
    by_name: dict[str, Event[Any]] = {}
    for event in events:
        by_name.setdefault(_checked(event, "wait_any").name, event)
    return Wait(tuple(by_name.values()), 1, _microseconds(timeout), _message, "wait_any")


def sending(
    run_id: str, event: Event[Any], value: Any, *, sender: tuple[str, int, int], idempotency_key: str | None = None
) -> Send:
    """Return the ask for the send of an event. Raises UsageError, and PayloadError if the value does not fit it."""
    check_event(event, method="send", example='await run.send(run_id, Event("approved", type=str), "alice")')
    if idempotency_key is not None:
        check_key(idempotency_key)
    try:
        target = parse_run_id(run_id)
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"send() was given {run_id!r}, which is not the id of a run") from None
    return Send(target, event.bind(value), idempotency_key, sender)


def _checked(event: object, method: str) -> Event[Any]:
    if isinstance(event, Event):
        return event
    several = isinstance(event, Sequence) and not isinstance(event, str)
    raise UsageError(
        f"{method}() was given a value of type {type(event).__name__} where an event belongs",
        hint="await run.wait_any(*events)" if several else f'await run.{method}(Event("approved", type=str))',
    )


def _microseconds(timeout: Duration | None) -> int | None:
    return None if timeout is None else to_microseconds(timeout)


def _value(message: Message[Any]) -> Any:
    return message.value


def _values(message: Message[Any]) -> list[Any]:
    return [message.value]


def _message(message: Message[Any]) -> Message[Any]:
    return message
