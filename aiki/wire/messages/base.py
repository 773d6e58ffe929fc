"""Own what all messages share: the typed request, limited text, and the payloads that stand for nothing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from msgspec import Meta, Raw, Struct

from aiki.wire.limits import TEXT_CHARS

R = TypeVar("R")

Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_CHARS)]
"""A text of a request. Every text, list and object of a request has a limit, which its decoder checks."""

NONE: Final = Raw(b"")
"""No payload. Falsy, and left out by `omit_defaults`; use this very object (msgspec cannot decode `Raw | None`)."""
NULL: Final = Raw(b"null")
UNDER_WAY: Final = Raw(b"false")
"""In place of an error: of a try no more is known than what it has said. An `at_most_once` start is another thing."""


class Said(Struct, array_like=True):
    """What a try says while it runs: details of a heartbeat, for the try after it, and its progress, for people.

    A run says what it shows of itself in the same form, in the row `details:run`.
    """

    details: Raw = NULL
    fraction: float | None = None
    """From 0 to 1; None if it has said nothing of that."""
    message: str = ""


class Attempt(Struct, array_like=True):
    """A try of a task that was not final, or the start of an `at_most_once` task (`error` is NULL).

    `details` is what the task has last `Said`, as JSON, at `details_at`; NULL if nothing. What a try says while it runs
    is its row, too, with UNDER_WAY for its error. `started` and `arguments` are as an `Entry`'s, and may stand in the
    first of its rows alone.
    """

    key: Text
    attempt: int
    error: Raw = NULL
    next_at: int | None = None
    details: Raw = NULL
    details_at: int | None = None
    started: int | None = None
    arguments: Raw = NULL


class Request(Struct, Generic[R], omit_defaults=True):
    """The base of all requests; `R` is the reply's type, which `reply` holds at run time."""

    op: ClassVar[str]
    reply: ClassVar[Any]
