"""Own the parameters of a function: one JSON object of their names, checked where it is made and where it arrives."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from aiki.core.canonical import encode_sorted, encoding_error
from aiki.core.errors import PayloadError, UsageError
from aiki.core.misfit import Misfit
from aiki.payload import annotations, models
from aiki.payload.annotations import Refused, Scope, Unresolved
from aiki.payload.arrival import AS_IT_IS, check_arrival
from aiki.payload.defaults import IsDefault, default_test
from aiki.payload.lowering import lowering
from aiki.payload.result import SMALL_BYTES, check_size, decoding_error
from aiki.payload.scalars import Lower
from aiki.wire import schema
from aiki.wire.schema import BadSchema

_encode: Final = msgspec.json.Encoder().encode
_ABSENT: Final = msgspec.UNSET
_ENCODING_ERRORS: Final = (UnicodeEncodeError, RecursionError, ValueError, TypeError)


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """One parameter: its two lowerings, and the class whose instances need none."""

    name: str
    exact: type | None
    lower: Lower
    lower_c1: Lower
    is_default: IsDefault | None
    required: bool
    default: Any
    annotation: Any
    fragile: bool


class _Plan:
    """What is worked out once per signature."""

    def __init__(
        self,
        parameters: list[inspect.Parameter],
        fields: list[_Field],
        defaults: dict[str, Any],
        shape: type[msgspec.Struct],
    ) -> None:
        positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        keyword_only_required = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)
        self.fields = fields
        self.defaults = defaults
        """The lowered defaults: what `encode` writes for what was not given."""
        self.fragile = {place: field for place, field in _places(fields).items() if field.fragile}
        self.shape = shape
        self.decoder = msgspec.json.Decoder(shape, dec_hook=models.load)
        self.names = tuple(field.name for field in fields)
        self.positional = len(positional)
        self.positional_only = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
        self.places = {name: place for place, name in enumerate(self.names) if name not in self.positional_only}
        self.required = {field.name for field in fields if field.required}
        # Fewer arguments than this, without names, need a closer look.
        needed = sum(p.default is p.empty for p in positional)
        self.fewest = len(fields) + 1 if keyword_only_required else needed
        self.has_one_form = all(field.required and field.lower is field.lower_c1 for field in fields)
        """Whether `encode` and `canonical` encode the same."""
        self.all_named = not self.positional_only and len(self.required) == len(fields)
        """Whether a decoded object always holds every parameter, and all may be passed by name."""


class Parameters:
    """The named parameters of a function as one JSON object."""

    @classmethod
    def of(
        cls, fn: Callable[..., Any], *, skip: int = 0, owner: str, scope: Scope = None, exact: bool = False
    ) -> "Parameters":
        """Return the parameters of `fn` without the first `skip`; `owner` names the task or workflow in messages.

        With `exact`, for arguments that a body passes, what the function gets is of the very class that was passed, or
        the call is refused. Without, they may come from anywhere, as JSON, and what the annotation says is what it
        gets: the equal base of a subclass, a float for an int.

        Raises UsageError that names a parameter which cannot be used. Annotations that name what is not defined yet
        are read at first use; `scope` holds further names for them.
        """
        signature = annotations.signature(fn)
        annotations.check_signature(fn, signature, skip=skip, owner=owner)
        made = cls(fn, list(signature.parameters.values())[skip:], owner, scope, exact=exact)
        with suppress(Unresolved):  # a class further down in the module, say: asked for again at first use
            made.__dict__["_plan"] = made._compile()
            made._scope = None
        return made

    def __init__(
        self, fn: Callable[..., Any], parameters: list[inspect.Parameter], owner: str, scope: Scope, *, exact: bool
    ) -> None:
        self._exact = exact
        self._fn = fn
        self._parameters = parameters
        self._owner = owner
        self._scope = scope

    def __repr__(self) -> str:
        return f"<Parameters of {self._owner}: {inspect.Signature(self._parameters)}>"

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the whole object, defaults included, as it is stored with a run.

        Raises UsageError if the arguments do not match the signature, PayloadError with the JSON path if one does not
        fit its annotation, and if the object is larger or deeper than the limits.
        """
        data, _ = self._encode(args, kwargs)
        return data

    def encode_and_copy(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], lowered: dict[str, Any] | None = None
    ) -> tuple[bytes, tuple[tuple[Any, ...], dict[str, Any]]]:
        """Return what `encode` returns, and what `decode` would return of it. Raises as `encode`.

        `lowered` is what `canonical_and_lowered` has just made of the same arguments.
        """
        data, values = self._encode(args, kwargs, lowered)
        return data, _arguments(self._plan, values)

    def canonical(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return form c1 of the object, without members that equal their default, nested too. Raises as `encode`."""
        return self.canonical_and_lowered(args, kwargs)[0]

    def canonical_and_lowered(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[bytes, dict[str, Any] | None]:
        """Return form c1, and what it was made of, if `encode` makes the same of it. Raises as `encode`."""
        plan = self._plan
        made: dict[str, Any] = {}
        name = ""
        try:
            for field, value in self._bound(plan, args, kwargs):
                name = field.name
                if type(value) is not field.exact:
                    value = field.lower_c1(value)
                if field.is_default is None or not field.is_default(value):
                    made[name] = value
            return encode_sorted(made), made if plan.has_one_form else None
        except Misfit as misfit:
            raise misfit.inside(f".{name}").to_error(self._owner) from None
        except _ENCODING_ERRORS as error:
            raise encoding_error(error, made).to_error(self._owner) from None

    def decode(self, raw: bytes | msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the named arguments to call the function with.

        What is absent is left to the function's own default. Raises PayloadError with the JSON path if the object does
        not fit, lacks a parameter or has one more.
        """
        plan = self._plan
        return _arguments(plan, self._decode(plan, raw))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the object, for callers that have only the workflow's name.

        It says no more than `wire.schema` has words for, and if it would be too large for that, only the names.
        """
        made = schema.reduced(self._whole_schema())
        try:
            schema.parse(msgspec.json.encode(made))
        except (BadSchema, TypeError, ValueError):
            names = [field.name for field in self._plan.fields]
            required = [field.name for field in self._plan.fields if field.required]
            properties: dict[str, Any] = {name: {} for name in names}
            return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return made

    def _whole_schema(self) -> dict[str, Any]:
        plan = self._plan
        (reference,), components = msgspec.json.schema_components(
            [plan.shape], schema_hook=models.schema, ref_template="#/$defs/{name}"
        )
        top = components.pop(reference["$ref"].removeprefix("#/$defs/"))
        for name, default in plan.defaults.items():
            top["properties"][name]["default"] = msgspec.to_builtins(default)
        definitions: dict[str, Any] = {}
        made: dict[str, Any] = models.take_definitions(top, definitions)
        definitions.update(models.take_definitions(components, definitions))
        return {**made, "$defs": definitions} if definitions else made

    @cached_property
    def _plan(self) -> _Plan:
        try:
            return self._compile()
        except Unresolved as unresolved:
            raise annotations.undefined(self._owner, self._fn, unresolved.name) from None

    def _compile(self) -> _Plan:
        hints = annotations.hints(self._fn, self._scope)
        fields = []
        defaults: dict[str, Any] = {}
        for parameter in self._parameters:
            try:
                field = _field(parameter, hints[parameter.name], exact=self._exact)
                if not field.required:
                    defaults[field.name] = field.lower(parameter.default)
            except Refused as refused:
                raise annotations.unusable(self._owner, self._fn, parameter.name, str(refused)) from None
            except Misfit as misfit:
                hint = f" ({misfit.hint})" if misfit.hint else ""
                reason = f"its default does not fit its annotation: {misfit.reason}{hint}"
                raise annotations.unusable(self._owner, self._fn, parameter.name, reason) from None
            fields.append(field)
        return _Plan(self._parameters, fields, defaults, _shape(self._fn.__name__, fields))

    def _encode(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], lowered: dict[str, Any] | None = None
    ) -> tuple[bytes, msgspec.Struct]:
        plan = self._plan
        made: dict[str, Any] = {} if lowered is None else lowered
        name = ""
        try:
            if lowered is None:
                for field, value in self._bound(plan, args, kwargs):
                    name = field.name
                    made[name] = value if type(value) is field.exact else field.lower(value)
                for absent, default in plan.defaults.items():
                    made.setdefault(absent, default)
            data = _encode(made)
        except Misfit as misfit:
            raise misfit.inside(f".{name}").to_error(self._owner) from None
        except _ENCODING_ERRORS as error:
            raise encoding_error(error, made).to_error(self._owner) from None
        if len(data) > SMALL_BYTES:
            check_size(data, f"the payload of {self._owner}")
        # What would fail on arrival fails here: a length, a range, a model's validator.
        if plan.fragile:
            return data, self._read_again(plan, data, dict(self._bound(plan, args, kwargs)))
        return data, self._decode(plan, data)

    def _read_again(self, plan: _Plan, data: bytes, passed: dict[_Field, Any]) -> msgspec.Struct:
        """Return what arrives, if it is what was passed, also for a default."""
        try:
            decoded = self._decode(plan, data)
        except PayloadError as error:
            error.hint = AS_IT_IS
            raise
        for place, field in plan.fragile.items():
            try:
                check_arrival(passed.get(field, field.default), getattr(decoded, place), exact=self._exact)
            except Misfit as misfit:
                raise misfit.inside(f".{field.name}").to_error(self._owner) from None
        return decoded

    def _bound(self, plan: _Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[tuple[_Field, Any]]:
        """Pair the given arguments with their fields."""
        count = len(args)
        if not kwargs and plan.fewest <= count <= plan.positional:
            return zip(plan.fields, args)  # noqa: B905 - it costs
        pairs = list(zip(plan.fields, args, strict=False))
        for name, value in kwargs.items():
            place = plan.places.get(name, -1)
            if place < count:
                raise self._mismatch(args, kwargs)
            pairs.append((plan.fields[place], value))
        if count > plan.positional or not plan.required <= {field.name for field, _ in pairs}:
            raise self._mismatch(args, kwargs)
        return pairs

    def _mismatch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> UsageError:
        signature = inspect.Signature(self._parameters)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            return UsageError(f"{self._owner} takes {signature}: {error}")
        raise AssertionError(f"{signature} was refused {args} {kwargs}")

    def _decode(self, plan: _Plan, raw: bytes | msgspec.Raw) -> msgspec.Struct:
        try:
            return plan.decoder.decode(raw)
        except Exception as error:
            raise decoding_error(error, f"the payload of {self._owner}") from error


def _arguments(plan: _Plan, decoded: msgspec.Struct) -> tuple[tuple[Any, ...], dict[str, Any]]:
    values = msgspec.structs.astuple(decoded)
    if plan.all_named:
        return (), dict(zip(plan.names, values))  # noqa: B905 - it costs
    named = {name: value for name, value in zip(plan.names, values, strict=True) if value is not _ABSENT}
    if not plan.positional_only:
        return (), named
    return tuple(named.pop(name) for name in plan.positional_only if name in named), named


def _field(parameter: inspect.Parameter, annotation: Any, *, exact: bool) -> _Field:
    found = lowering(annotation, exact=exact)
    required = parameter.default is parameter.empty
    return _Field(
        name=parameter.name,
        exact=found.exact,
        lower=found.whole,
        lower_c1=found.c1,
        is_default=None if required else default_test(found.node, found.c1, parameter.default),
        required=required,
        default=parameter.default,
        annotation=annotations.with_ints(annotation) if exact else annotation,
        fragile=found.fragile,
    )


def _places(fields: list[_Field]) -> dict[str, _Field]:
    return {f"p{index}": field for index, field in enumerate(fields)}


def _shape(name: str, fields: list[_Field]) -> type[msgspec.Struct]:
    """Return a Struct of the parameters, to decode into.

    Its own field names are neutral, because Python would mangle a parameter such as `__id`. What is absent becomes
    UNSET, so that the function's own default is used, were it mutable or not.
    """
    places = _places(fields)
    return msgspec.defstruct(
        name,
        [(place, f.annotation) if f.required else (place, f.annotation, _ABSENT) for place, f in places.items()],
        kw_only=True,
        forbid_unknown_fields=True,
        rename={place: f.name for place, f in places.items()},
    )
