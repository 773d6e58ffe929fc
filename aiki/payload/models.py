"""Own the pydantic hook: models cross as what they themselves dump and validate. Never imports pydantic.

Who has a model has imported pydantic; who has none should not wait for it.
"""

import re
import sys
from collections.abc import Iterator, MutableSet, Set
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeGuard, get_args, get_origin

import msgspec

from aiki.core.canonical import Misfit, json_value
from aiki.payload.annotations import Refused

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

_SETS: Final = (set, frozenset, Set, MutableSet)


def is_model(kind: Any) -> "TypeGuard[type[BaseModel]]":
    """Tell whether `kind` is a pydantic model class."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def dump(value: "BaseModel", *, c1: bool) -> Any:
    """Return the model as JSON; with `c1` without members that equal their default. Raises Misfit if it cannot be."""
    try:
        # Not its computed fields: they are not part of what is validated when it comes back.
        dumped = value.model_dump(mode="json", by_alias=True, round_trip=True)
        if c1:
            dumped = _without_defaults(value, dumped)
    except ValueError as error:
        raise Misfit(f"{type(value).__qualname__} cannot be dumped: {error}") from None
    return json_value(dumped, c1=c1)


def load(kind: type, value: Any) -> Any:
    """Decode a custom type for msgspec (its `dec_hook`): `value` is JSON. Raises ValueError if it does not fit."""
    if not is_model(kind):
        raise NotImplementedError(f"{kind} is no type that Aiki stores")
    from pydantic import ValidationError

    try:
        # As JSON, so that a strict model still takes its dates and bytes from text.
        return kind.model_validate_json(msgspec.json.encode(value))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or kind.__name__}: {e['msg']}" for e in error.errors())
        raise ValueError(found) from None


def schema(kind: type) -> dict[str, Any]:
    """Return a custom type's JSON Schema for msgspec (its `schema_hook`). Its `$defs` are to be moved to the root."""
    if not is_model(kind):
        raise NotImplementedError(f"{kind} is no type that Aiki stores")
    # Named after the model, so that they meet no others there.
    prefix = re.sub(r"\W", "_", f"{kind.__module__}_{kind.__qualname__}")
    made = kind.model_json_schema(ref_template=f"#/$defs/{prefix}_{{model}}", schema_generator=_generator())
    if "$defs" in made:
        made["$defs"] = {f"{prefix}_{name}": part for name, part in made["$defs"].items()}
    return made


@cache
def _generator() -> "type[GenerateJsonSchema]":
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Says of a Decimal that it is one, as msgspec does: a number would arrive as a float."""

        def decimal_schema(self, schema: Any) -> dict[str, Any]:
            return {"type": "string", "format": "decimal"}

    return Generator


def take_definitions(part: Any, definitions: dict[str, Any]) -> Any:
    """Return a part of a JSON Schema without the `$defs` inside it, which go to `definitions`."""
    if isinstance(part, list):
        return [take_definitions(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    definitions.update(part.get("$defs", {}))
    return {name: take_definitions(member, definitions) for name, member in part.items() if name != "$defs"}


def refuse_sets(kind: "type[BaseModel]", seen: tuple[type, ...] = ()) -> None:
    """Raise Refused if a field of the model, or of one inside it, is a set."""
    for name, field in kind.model_fields.items():
        for part in _parts(field.annotation):
            if part in _SETS:
                raise Refused(f"field `{name}` of {kind.__qualname__}: a set has no order: use a list")
            if is_model(part) and part not in seen:
                refuse_sets(part, (*seen, kind, part))


def _parts(annotation: Any) -> Iterator[Any]:
    yield get_origin(annotation) or annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def _without_defaults(value: Any, dumped: Any) -> Any:
    """Return the dump of a model, or of what a field of one holds, without the members that equal their default.

    pydantic's own `exclude_defaults` keeps what a default factory made.
    """
    if isinstance(value, (list, tuple)) and isinstance(dumped, list) and len(value) == len(dumped):
        return [_without_defaults(item, part) for item, part in zip(value, dumped, strict=True)]
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        parts = zip(value.values(), dumped.items(), strict=True)
        return {name: _without_defaults(item, part) for item, (name, part) in parts}
    if not is_model(type(value)) or not isinstance(dumped, dict):
        return dumped
    kept = dict(dumped)
    for name, field in type(value).model_fields.items():
        alias = field.serialization_alias or field.alias or name
        if alias not in kept:
            continue
        item = getattr(value, name)
        if not field.is_required() and _is_default(item, field):
            del kept[alias]
        else:
            kept[alias] = _without_defaults(item, kept[alias])
    return kept


def _is_default(item: Any, field: Any) -> bool:
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        return False
    default = field.get_default(call_default_factory=True)
    return type(item) is type(default) and bool(item == default)
