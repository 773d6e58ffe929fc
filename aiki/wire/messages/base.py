"""Own what all messages share: the typed request, and the payloads that stand for nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Generic, TypeVar

from msgspec import Raw, Struct

R = TypeVar("R")

NONE: Final = Raw(b"")
"""No payload. Falsy, and left out by `omit_defaults`; use this very object (msgspec cannot decode `Raw | None`)."""
NULL: Final = Raw(b"null")


class Request(Struct, Generic[R], omit_defaults=True):
    """The base of all requests; `R` is the reply's type, which `reply` holds at run time."""

    op: ClassVar[str]
    reply: ClassVar[Any]
