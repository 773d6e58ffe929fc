"""Own the result of a function: how the journal holds it, and how it comes back."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeAlias

import msgspec

from aiki.core.canonical import encoding_error, nests_too_deep
from aiki.core.errors import PayloadError
from aiki.core.misfit import Misfit
from aiki.core.texts import text_of
from aiki.payload import annotations, models
from aiki.payload.annotations import Refused, Scope, Unresolved
from aiki.payload.arrival import AS_IT_IS, check_arrival
from aiki.payload.lowering import lowering
from aiki.payload.scalars import Lower
from aiki.wire.limits import NESTING, PAYLOAD_BYTES

_Codec: TypeAlias = "tuple[Lower, type | None, msgspec.json.Decoder[Any], bool]"

_encode: Final = msgspec.json.Encoder().encode
SMALL_BYTES: Final = NESTING
"""A payload of no more bytes is within the limits, whatever they are: it need not be looked at."""


class Result:
    """What a function returns, by its annotation."""

    @classmethod
    def of(cls, fn: Callable[..., Any], *, owner: str, scope: Scope = None) -> "Result":
        """Return the result of `fn`; `owner` names the task or workflow in messages.

        Raises UsageError if the annotation cannot be used. One that names what is not defined yet is read at first use.
        """
        made = cls(fn, owner, scope)
        with suppress(Unresolved):  # a class further down in the module, say: asked for again at first use
            made.__dict__["_plan"] = made._codec()
            made._scope = None
        return made

    def __init__(self, fn: Callable[..., Any], owner: str, scope: Scope) -> None:
        self._fn = fn
        self._owner = owner
        self._scope = scope

    def __repr__(self) -> str:
        return f"<Result of {self._owner}>"

    def encode(self, value: Any) -> bytes:
        """Return the value as JSON. Raises PayloadError if it does not fit its annotation or a limit."""
        lower, exact, _, fragile = self._plan
        lowered = value
        try:
            if type(value) is not exact:
                lowered = lower(value)
            data = _encode(lowered)
            if fragile:
                check_arrival(value, self._read_again(data), exact=False)
        except Misfit as misfit:
            raise misfit.to_error(f"result of {self._owner}") from None
        except (UnicodeEncodeError, RecursionError, ValueError, TypeError) as error:
            raise encoding_error(error, lowered).to_error(f"result of {self._owner}") from None
        if len(data) > SMALL_BYTES:
            check_size(data, f"result of {self._owner}")
        return data

    def decode(self, raw: bytes | msgspec.Raw) -> Any:
        """Return the value in `raw`. Raises PayloadError with the JSON path if it does not fit the annotation."""
        decoder = self._plan[2]
        try:
            return decoder.decode(raw)
        except Exception as error:
            raise decoding_error(error, f"result of {self._owner}") from error

    def _read_again(self, data: bytes) -> Any:
        try:
            return self.decode(data)
        except PayloadError as error:
            error.hint = AS_IT_IS
            raise

    @cached_property
    def _plan(self) -> _Codec:
        try:
            return self._codec()
        except Unresolved as unresolved:
            raise annotations.undefined(self._owner, self._fn, unresolved.name) from None

    def _codec(self) -> _Codec:
        annotation = annotations.hints(self._fn, self._scope)["return"]
        try:
            found = lowering(annotation)
        except Refused as refused:
            raise annotations.unusable(self._owner, self._fn, "return", str(refused)) from None
        decoder = msgspec.json.Decoder(annotations.with_ints(annotation), dec_hook=models.load)
        return found.whole, found.exact, decoder, found.fragile


def check_size(data: bytes, what: str) -> None:
    """Raise PayloadError if the JSON in `data` has more than PAYLOAD_BYTES, or more than NESTING levels."""
    if len(data) > PAYLOAD_BYTES:
        raise PayloadError(
            f"{what} has {len(data):,} bytes, more than {PAYLOAD_BYTES:,}",
            hint="keep large data elsewhere and pass its address",
        )
    if nests_too_deep(data):
        raise PayloadError(f"{what} has more than {NESTING} levels of arrays and objects")


def decoding_error(error: Exception, what: str) -> PayloadError:
    """Return the error of a decoder in our words; what a type's own `__post_init__` raised is told with its class."""
    if isinstance(error, RecursionError):
        return PayloadError(f"{what} has more than {NESTING} levels of arrays and objects")
    if not isinstance(error, (msgspec.DecodeError, UnicodeDecodeError)):
        return PayloadError(f"{what}: {type(error).__name__}: {text_of(error)}")
    reason, _, path = str(error).partition(" - at `")
    return PayloadError(f"{what}: {reason[:1].lower()}{reason[1:]} at `{path or '$`'}")
