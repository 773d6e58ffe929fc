"""Own the bytes of requests and replies: JSON by msgspec, and the envelope that carries errors."""

from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from aiki.core.errors import WIRE_ERRORS, AikiError, Overloaded

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


class ErrorInfo(msgspec.Struct, omit_defaults=True):
    """An error as it crosses the wire."""

    code: str
    message: str
    hint: str | None = None
    retry_after: float | None = None
    command: str | None = None

    @classmethod
    def of(cls, error: AikiError) -> "ErrorInfo":
        """Return the wire form of `error`."""
        retry_after = error.retry_after if isinstance(error, Overloaded) else None
        return cls(error.code, error.message, error.hint, retry_after, error.command)

    def to_exception(self) -> AikiError:
        """Return the exception to raise at the caller."""
        if self.code == Overloaded.code:
            return Overloaded(self.message, hint=self.hint, retry_after=self.retry_after or 0.1)
        return WIRE_ERRORS.get(self.code, AikiError)(self.message, hint=self.hint, command=self.command)


class Envelope(msgspec.Struct, Generic[T], omit_defaults=True):
    """Every reply: either `ok` or `error`."""

    ok: T | None = None
    error: ErrorInfo | None = None


@cache
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind)


@cache
def _envelope(kind: Any) -> Any:
    return Envelope[kind]


def decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """Return the one decoder for `kind`; unknown fields are ignored, so newer peers may add some."""
    made: msgspec.json.Decoder[Any] = _decoder(kind)
    return made


def decode(data: bytes, kind: type[T]) -> T:
    """Return what `data` holds. Raises msgspec.MsgspecError whatever is wrong with it: text in it may not be UTF-8."""
    try:
        value: T = decoder(kind).decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return value


def encode_reply(reply: object) -> bytes:
    """Return the bytes of a successful reply."""
    return encode(Envelope(ok=reply))


def encode_error(error: AikiError) -> bytes:
    """Return the bytes of an error reply."""
    return encode(Envelope[None](error=ErrorInfo.of(error)))


def decode_reply(data: bytes, kind: type[T]) -> T:
    """Return the reply in `data`. Raises the AikiError that the daemon answered with, or msgspec.DecodeError."""
    named: Any = kind
    envelope: Envelope[T] = decode(data, _envelope(named))
    if envelope.error is not None:
        raise envelope.error.to_exception()
    if envelope.ok is None:
        raise msgspec.DecodeError("a reply with neither `ok` nor `error`")
    return envelope.ok
