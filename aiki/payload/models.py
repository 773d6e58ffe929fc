"""Own the pydantic hook: models cross as what they themselves dump and validate. Never imports pydantic.

Who has a model has imported pydantic; who has none should not wait for it.
"""

import re
import sys
from collections.abc import Callable, Iterator, MutableSet, Set
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeGuard, get_args, get_origin

import msgspec

from aiki.core.canonical import json_value
from aiki.core.misfit import Misfit
from aiki.core.texts import text_of
from aiki.payload.annotations import Refused

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

CONTEXT: Final = {"aiki": True}
"""What a model's serializers get as `info.context`: here a secret may be told, if its owner wants it stored."""
_ASTERISKS: Final = "**********"
_SETS: Final = (set, frozenset, Set, MutableSet)


def is_model(kind: Any) -> "TypeGuard[type[BaseModel]]":
    """Tell whether `kind` is a pydantic model class."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def dump(value: "BaseModel", *, c1: bool, respelled: bool) -> Any:
    """Return the model as JSON, with `c1` without members that equal their default. Raises Misfit if it cannot be.

    Where a model is `respelled`, its members get the names under which they are read.
    """
    try:
        # Not its computed fields: they are not part of what is validated when it comes back. No warnings: whether what
        # was dumped is what was passed is looked at (`aiki.payload.arrival`).
        dumped = value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False, context=CONTEXT)
        if c1 or respelled:
            dumped = _respelled(value, dumped, c1=c1)
    except UnicodeDecodeError:
        hint = 'model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")'
        raise Misfit(f"{type(value).__qualname__} dumps bytes that are no UTF-8 as text", hint=hint) from None
    except Exception as error:  # noqa: BLE001 - serializers are the user's
        raise Misfit(f"{type(value).__qualname__} cannot be dumped: {text_of(error)}") from None
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
        raise ValueError("; ".join(_told(kind, told) for told in error.errors(include_url=False))) from None


def _told(kind: type, error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or kind.__name__
    secret = " (a secret is dumped as asterisks)" if error["input"] == _ASTERISKS else ""
    return f"{place}: {error['msg']}{secret}"


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


def refuse_sets(kind: "type[BaseModel]") -> None:
    """Raise Refused if a field of the model, or of one inside it, is a set."""
    for model in _models(kind, set()):
        for name, field in model.model_fields.items():
            if any(part in _SETS for part in _parts(field.annotation)):
                raise Refused(f"field `{name}` of {model.__qualname__}: a set has no order: use a list")


def is_respelled(kind: "type[BaseModel]") -> bool:
    """Tell whether a field of the model, or of one inside it, is read by another name than it is dumped by."""
    spellings = (spelling for model in _models(kind, set()) for spelling in _spellings(model))
    return any(dumped_name != read_name for _, dumped_name, read_name, _ in spellings)


def parts_of(kind: "type[BaseModel]") -> Callable[[Any], list[tuple[str, Any]]]:
    """Return how a model is taken apart: all that it consists of, each with its step of a path.

    What is extra or private is a part, too.
    """
    fields = [(name, "" if kind.__pydantic_root_model__ else f".{name}") for name in kind.model_fields]
    private = [(name, f".{name}") for name in kind.__private_attributes__]

    def parts(value: Any) -> list[tuple[str, Any]]:
        known = value.__dict__
        made = [(step, known.get(name)) for name, step in fields]
        if value.__pydantic_extra__:
            made.append(("", value.__pydantic_extra__))
        if private and value.__pydantic_private__ is not None:
            made.extend((step, value.__pydantic_private__.get(name)) for name, step in private)
        return made

    return parts


def is_secret(value: Any) -> bool:
    """Tell whether `value` is one of pydantic's secrets, which dump as asterisks."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, (pydantic.Secret, pydantic.SecretStr, pydantic.SecretBytes))


def hidden(kind: type) -> Misfit:
    """Return what to say of a secret that its model hides: to store it in clear is its owner's decision."""
    hint = (
        'let a @field_serializer(..., when_used="json") return value.get_secret_value() if info.context == {"aiki":'
        " True}, which stores it in clear, or pass its name and read the secret in the task"
    )
    return Misfit(f"a {kind.__qualname__} is dumped as asterisks, and would be lost", hint=hint)


def _models(kind: "type[BaseModel]", seen: set[type]) -> "Iterator[type[BaseModel]]":
    seen.add(kind)
    yield kind
    for field in kind.model_fields.values():
        for part in _parts(field.annotation):
            if is_model(part) and part not in seen:
                yield from _models(part, seen)


def _parts(annotation: Any) -> Iterator[Any]:
    yield get_origin(annotation) or annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def _respelled(value: Any, dumped: Any, *, c1: bool) -> Any:
    """Return the dump of a model, or of what a field of one holds, with the names under which its members are read.

    With `c1` without those that equal their default: pydantic's own `exclude_defaults` keeps what a default factory
    made.
    """
    if isinstance(value, (list, tuple)) and isinstance(dumped, list) and len(value) == len(dumped):
        return [_respelled(item, part, c1=c1) for item, part in zip(value, dumped, strict=True)]
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {name: _respelled(item, part, c1=c1) for item, (name, part) in pairs}
    kind = type(value)
    if not is_model(kind):
        return dumped
    if kind.__pydantic_root_model__:
        return _respelled(value.root, dumped, c1=c1)
    return _respelled_members(value, dumped, c1) if isinstance(dumped, dict) else dumped


def _respelled_members(value: "BaseModel", dumped: dict[str, Any], c1: bool) -> dict[str, Any]:
    kept = dict(dumped)
    for name, dumped_name, read_name, field in _spellings(type(value)):
        if dumped_name not in kept:
            continue
        item = value.__dict__.get(name)
        part = kept.pop(dumped_name)
        if not c1 or field.is_required() or not _is_default(item, field):
            kept[read_name] = _respelled(item, part, c1=c1)
    return kept


@lru_cache(maxsize=1024)
def _spellings(kind: "type[BaseModel]") -> list[tuple[str, str, str, Any]]:
    """Return each field's name, the names by which it is dumped and read, and the field."""
    return [
        (name, field.serialization_alias or field.alias or name, _read_name(kind, name), field)
        for name, field in kind.model_fields.items()
    ]


def _read_name(kind: "type[BaseModel]", name: str) -> str:
    """Return the name of a field in JSON that is read: the first, as in the model's schema, if there are several."""
    if kind.model_config.get("validate_by_alias") is False:
        return name
    alias = kind.model_fields[name].validation_alias or name
    choices = getattr(alias, "choices", [alias])
    return next((choice for choice in choices if isinstance(choice, str)), name)


def _is_default(item: Any, field: Any) -> bool:
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        return False
    default = field.get_default(call_default_factory=True)
    return type(item) is type(default) and bool(item == default)
