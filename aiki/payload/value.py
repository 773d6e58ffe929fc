"""Own a payload that is one value, such as an event's: how it is sent, how it comes back, and its form c1."""

from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeAlias

import msgspec

from aiki.core.canonical import encode_sorted, encoding_error
from aiki.core.errors import UsageError
from aiki.core.misfit import Misfit
from aiki.payload import annotations, models
from aiki.payload.annotations import Refused, Unresolved
from aiki.payload.arrival import AS_IT_IS, check_arrival
from aiki.payload.lowering import Lowering, lowering
from aiki.payload.result import check_size, decoding_error
from aiki.payload.scalars import Lower
from aiki.wire import schema
from aiki.wire.schema import BadSchema, Schema

_Codec: TypeAlias = "tuple[Lowering, msgspec.json.Decoder[Any]]"

_encode: Final = msgspec.json.Encoder().encode


class Value:
    """A value of one type; `owner` names whose it is in messages."""

    def __init__(self, annotation: Any, *, owner: str) -> None:
        """Raises UsageError if such values cannot cross the durable boundary."""
        if isinstance(annotation, str):
            raise UsageError(
                f"{owner}: its type is the text {annotation!r}, which names no type",
                hint=f"type={annotation}, without quotes, where the type is defined",
            )
        self._annotation = annotation
        self._owner = owner
        with suppress(Unresolved):  # a class further down in the module, say: asked for again at first use
            self.__dict__["_codec"] = self._compile()

    def __repr__(self) -> str:
        return f"<Value of {self._owner}>"

    def encode(self, value: Any) -> bytes:
        """Return the value as JSON. Raises PayloadError if it does not fit its type or a limit."""
        found, decoder = self._codec
        data = self._lowered(value, found.whole, _encode)
        if found.fragile:
            try:
                check_arrival(value, decoder.decode(data), exact=False)
            except Misfit as misfit:
                raise misfit.to_error(self._owner) from None
            except Exception as error:
                refused = decoding_error(error, self._owner)
                refused.hint = AS_IT_IS
                raise refused from error
        check_size(data, self._owner)
        return data

    def canonical(self, value: Any) -> bytes:
        """Return form c1 of the value. Raises PayloadError as `encode` does of its type."""
        return self._lowered(value, self._codec[0].c1, encode_sorted)

    def decode(self, raw: bytes | msgspec.Raw) -> Any:
        """Return the value in `raw`. Raises PayloadError with the JSON path if it does not fit the type."""
        try:
            return self._codec[1].decode(raw)
        except Exception as error:
            raise decoding_error(error, self._owner) from error

    def schema(self) -> Schema:
        """Return the JSON Schema of such values, for callers that have only a name; {} if it would be too large.

        It says no more than `wire.schema` has words for.
        """
        (form,), components = msgspec.json.schema_components(
            [annotations.with_ints(self._annotation)], schema_hook=models.schema, ref_template="#/$defs/{name}"
        )
        definitions: dict[str, Any] = {}
        made = models.take_definitions(form, definitions)
        definitions.update(models.take_definitions(components, definitions))
        made = schema.reduced({**made, "$defs": definitions} if definitions else made)
        try:
            schema.parse(msgspec.json.encode(made))
        except (BadSchema, TypeError, ValueError):
            return {}
        return made

    def _lowered(self, value: Any, lower: Lower, encode: Any) -> bytes:
        lowered = value
        try:
            lowered = lower(value)
            data: bytes = encode(lowered)
        except Misfit as misfit:
            raise misfit.to_error(self._owner) from None
        except (UnicodeEncodeError, RecursionError, ValueError, TypeError) as error:
            raise encoding_error(error, lowered).to_error(self._owner) from None
        return data

    @cached_property
    def _codec(self) -> _Codec:
        try:
            return self._compile()
        except Unresolved as unresolved:
            raise UsageError(f"{self._owner}: its type names `{unresolved.name}`, which is not defined") from None

    def _compile(self) -> _Codec:
        try:
            found = lowering(self._annotation)
            return found, msgspec.json.Decoder(annotations.with_ints(self._annotation), dec_hook=models.load)
        except Refused as refused:
            raise UsageError(f"{self._owner}: its type cannot be used: {refused}") from None
