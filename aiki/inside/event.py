"""Own `Event`: a typed message to a run, which bodies wait for and doors send; and what has come of one, `Message`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeGuard, TypeVar, overload

from msgspec import Raw
from typing_extensions import TypeForm

from aiki.core.canonical import digest
from aiki.core.errors import UsageError
from aiki.payload import Value
from aiki.wire.schema import Schema
from aiki.wire.subjects import is_token

T = TypeVar("T")  # invariant on purpose: a sender must not widen what is waited for
T_co = TypeVar("T_co", covariant=True)


class Awaited(Protocol[T_co]):
    """An `Event`, as who waits for it sees it.

    In `print(await run.wait_for(approved))` a type checker asks for an event of `object`, which an Event[str] is not.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def read(self, raw: bytes | Raw, /) -> T_co:
        """Return what was sent."""
        ...


class Event(Generic[T]):
    """A message that runs can be sent: its name, and the type of what it carries.

    `Event("ping")` carries nothing. A run takes the events of one name in the order in which they came, each once.
    """

    __slots__ = ("_name", "_payload")

    @overload
    def __init__(self: Event[None], name: str, /) -> None: ...
    @overload
    def __init__(self, name: str, /, *, type: type[T]) -> None: ...
    @overload
    def __init__(self, name: str, /, *, type: TypeForm[T]) -> None: ...
    def __init__(self, name: Any, /, *, type: Any = None) -> None:
        """`type` is any type that a task could return. Raises UsageError on other types and names."""
        if not isinstance(name, str) or not is_token(name):
            raise UsageError(f"{name!r} cannot name an event: it takes 1 to 64 of A-Z a-z 0-9 _ -")
        self._name: str = name
        self._payload = Value(type, owner=f"event {name!r}")

    def __repr__(self) -> str:
        return f"<event {self._name}>"

    @property
    def name(self) -> str:
        """What it is called, at both ends."""
        return self._name

    @overload
    def bind(self: Event[None], /) -> BoundEvent[None]: ...
    @overload
    def bind(self, value: T, /) -> BoundEvent[T]: ...
    def bind(self, value: Any = None, /) -> BoundEvent[Any]:
        """Return the event with what it is to carry, ready to be sent; a later change of `value` is not seen.

        Raises PayloadError if the value does not fit the event's type or a limit.
        """
        return BoundEvent(self, value, self._payload.encode(value), self._payload.canonical(value))

    def read(self, raw: bytes | Raw, /) -> T:
        """Return what was sent, from JSON. Raises PayloadError with the JSON path if it does not fit the type."""
        value: T = self._payload.decode(raw)
        return value

    def schema(self) -> Schema:
        """Return the JSON Schema of what it carries, as far as callers by name can make use of it."""
        return self._payload.schema()

    # TypeGuard, not TypeIs: two events of one type make one type of message, and `else` would be unreachable then.
    def matches(self, message: Message[Any], /) -> TypeGuard[Message[T]]:
        """Tell whether the message is one of this event."""
        return message.event.name == self._name


@dataclass(frozen=True, slots=True)
class BoundEvent(Generic[T]):
    """An event and what it is to carry."""

    event: Event[T]
    value: T
    encoded: bytes = field(repr=False)
    """The value as JSON."""
    form: bytes = field(repr=False)
    """Its form c1: equal values have equal ones."""

    @property
    def digest(self) -> str:
        """That of its form."""
        return digest(self.form)


def check_event(event: Any, *, method: str, example: str) -> None:
    """Raise UsageError, with how the method is called, if what it was given is no event."""
    if not isinstance(event, Event):
        raise UsageError(
            f"{method}() was given a value of type {type(event).__name__} where an event belongs", hint=example
        )


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """An event that has come: what it carries, and when the run was sent it."""

    event: Event[T]
    value: T
    at: datetime
