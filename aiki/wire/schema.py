"""Own what the schema of a workflow's parameters may say: a closed vocabulary out of JSON Schema.

Workers register schemas, aikid stores them, clients check payloads by them: whoever gets one from somebody else reads
it by `parse`. Then every keyword is known and has a value that makes sense; no reference leaves the document, names
what is not there, or comes back to where it started; and the size is bounded. There is nothing to fetch, to open or to
compile. The vocabulary is what msgspec and pydantic make of annotations, as far as a client can make use of it.

What a schema says is not evaluated here. Whoever does so must never evaluate `pattern`: it is another's regular
expression, and a match may take for ever. The worker, whose own it is, does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from aiki.core.canonical import nests_too_deep
from aiki.wire.limits import NESTING, PAYLOAD_BYTES

Schema: TypeAlias = dict[str, Any]

OBJECTS: Final = 10_000
"""JSON objects in a schema, and in those of all routes of a worker together."""
AT_ONE_PLACE: Final = 1_000
"""How many of them, with all that they refer to, may apply to one and the same value."""
TYPES: Final = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_DEFINITIONS: Final = "#/$defs/"
_ONE: Final = ("items", "additionalProperties", "propertyNames")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_IN_PLACE: Final = ("anyOf", "oneOf", "allOf")
"""Those that apply to the value itself, not to what is inside it."""
_NAMED: Final = ("properties", "$defs")
_SHOWN_CHARS: Final = 80


class BadSchema(ValueError):
    """What was registered is no schema that Aiki uses; the message says where and why."""


class _Part(NamedTuple):
    """A schema, and where it stands."""

    schema: Any
    inside: _Part | None = None
    step: str = "#"

    def __str__(self) -> str:
        steps, part = [], self
        while part.inside is not None:
            steps.append(part.step[:_SHOWN_CHARS])
            part = part.inside
        return "/".join(["#", *reversed(steps)])


def parse(data: bytes) -> Schema:
    """Return the schema in `data`, which may come from anywhere. Raises BadSchema."""
    if len(data) > PAYLOAD_BYTES:
        raise BadSchema(f"it has {len(data):,} bytes, more than {PAYLOAD_BYTES:,}")
    if data.count(b"{") > OBJECTS:
        raise BadSchema(f"it has more than {OBJECTS:,} objects")
    if nests_too_deep(data):
        raise BadSchema(f"it has more than {NESTING} levels")
    try:
        schema: Schema = msgspec.json.decode(data)
    except UnicodeDecodeError as error:
        raise BadSchema(f"it is not UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise BadSchema(f"it cannot be read: {error}") from error
    _check(schema)
    return schema


def referred(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Schema | None:
    """Return the definition that a part of a parsed schema refers to, None if it refers to none."""
    if (reference := schema.get("$ref")) is None:
        return None
    found: Schema = root["$defs"][reference.removeprefix(_DEFINITIONS)]
    return found


def types(schema: Mapping[str, Any]) -> Sequence[str]:
    """Return the types that a schema names; none if it says constants, or nothing."""
    given = schema.get("type", ())
    return (given,) if isinstance(given, str) else given


def names_type(schema: Mapping[str, Any], name: str) -> bool:
    """Tell whether a schema names a type."""
    return name in types(schema)


def is_open(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema that refers to no other takes values of every type."""
    return not {"type", "enum", "const"} & schema.keys()


def is_decimal(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema has a Decimal, which is text."""
    return schema.get("format") == "decimal" and names_type(schema, "string")


def takes_any_text(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema takes text, of no special form."""
    return names_type(schema, "string") and not {"format", "enum", "const"} & schema.keys()


def reduced(schema: Any, definitions: Mapping[str, Any] | None = None) -> Schema:
    """Return as much of a schema of our own as belongs to the vocabulary: what is left out makes it more lenient."""
    if not isinstance(schema, dict):
        return {}
    if definitions is None:
        definitions = schema.get("$defs", {})
    made: Schema = {}
    for keyword, value in schema.items():
        kept = value
        if keyword in _NAMED and isinstance(value, dict):
            kept = {name: reduced(part, definitions) for name, part in value.items()}
        elif keyword in _LISTED and isinstance(value, list):
            kept = [reduced(part, definitions) for part in value]
        elif keyword in _ONE and isinstance(value, dict):
            kept = reduced(value, definitions)
        if keyword in _FORMS and _FORMS[keyword](kept, definitions):
            made[keyword] = kept
    if "patternProperties" in schema:
        made.pop("additionalProperties", None)  # what it speaks of depends on patterns
    return made


def _check(schema: Any) -> None:
    definitions = schema.get("$defs", {}) if isinstance(schema, dict) else {}
    parts: list[Schema] = []
    for part in _parts(schema):
        if not isinstance(part.schema, dict):
            raise BadSchema(f"{part}: a schema is an object")
        parts.append(part.schema)
        for keyword, value in part.schema.items():
            if keyword not in _FORMS or (keyword == "$defs" and part.inside is not None):
                raise BadSchema(f"{part}: {keyword[:_SHOWN_CHARS]!r} does not belong to the vocabulary")
            if not _FORMS[keyword](value, definitions):
                raise BadSchema(f"{part}: {keyword!r} cannot be {_shown(value)}")
    _check_references(parts, schema)


def _parts(schema: Any) -> Iterator[_Part]:
    """Yield the schema and all those inside it, each before its own parts are looked at."""
    waiting = [_Part(schema)]
    while waiting:
        part = waiting.pop()
        yield part
        for keyword in (*_NAMED, *_LISTED, *_ONE):
            if (value := part.schema.get(keyword)) is None or isinstance(value, bool):
                continue
            if keyword in _NAMED:
                waiting += (_Part(inner, part, f"{keyword}/{name}") for name, inner in value.items())
            elif keyword in _LISTED:
                waiting += (_Part(inner, part, f"{keyword}/{place}") for place, inner in enumerate(value))
            else:
                waiting.append(_Part(value, part, keyword))


def _check_references(parts: list[Schema], root: Schema) -> None:
    """Raise BadSchema if a schema applies to a value by way of itself, or too many do: checking could take for ever."""
    applied: dict[int, list[int]] = {}
    for schema in parts:
        found = [id(inner) for keyword in _IN_PLACE for inner in schema.get(keyword, ())]
        if (target := referred(schema, root)) is not None:
            found.append(id(target))
        if found:
            applied[id(schema)] = found
    counts: dict[int, int] = {}
    try:
        for schema_id in TopologicalSorter(applied).static_order():
            counts[schema_id] = 1 + sum(counts[inner] for inner in applied.get(schema_id, ()))
            if counts[schema_id] > AT_ONE_PLACE:
                raise BadSchema(f"more than {AT_ONE_PLACE:,} schemas apply to one value")
    except CycleError as error:
        raise BadSchema("a reference leads back to itself") from error


def _shown(value: object) -> str:
    shown = repr(value) if isinstance(value, (str, int, float, bool)) else f"of type {type(value).__name__}"
    return shown[:_SHOWN_CHARS]


Form: TypeAlias = Callable[[Any, Mapping[str, Any]], bool]
"""Whether a keyword may have a value, in a schema with these definitions."""


def _is_text(value: Any, _: object = None) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any, _: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any, _: object = None) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _is_count(value: Any, _: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: Any, _: object) -> bool:
    names = value if isinstance(value, list) and value else [value]
    return all(isinstance(name, str) and name in TYPES for name in names)


def _is_list(value: Any, _: object) -> bool:
    return isinstance(value, list) and len(value) > 0


def _is_object(value: Any, _: object) -> bool:
    return isinstance(value, dict)


def _is_schema_or_flag(value: Any, _: object) -> bool:
    return isinstance(value, (dict, bool))


def _is_reference(value: Any, definitions: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value.startswith(_DEFINITIONS) and value.removeprefix(_DEFINITIONS) in definitions


def _is_discriminator(value: Any, definitions: Mapping[str, Any]) -> bool:
    mapping = value.get("mapping", {}) if isinstance(value, dict) else None
    return isinstance(mapping, dict) and all(_is_reference(one, definitions) for one in mapping.values())


_FORMS: Final[dict[str, Form]] = {
    "$ref": _is_reference,
    "type": _is_type,
    "enum": _is_list,
    "const": lambda _value, _: True,
    # text
    "minLength": _is_count,
    "maxLength": _is_count,
    "format": _is_text,
    "pattern": _is_text,
    "contentEncoding": _is_text,
    "contentMediaType": _is_text,
    # numbers
    "minimum": _is_number,
    "maximum": _is_number,
    "exclusiveMinimum": _is_number,
    "exclusiveMaximum": _is_number,
    "multipleOf": lambda value, _: _is_number(value) and value > 0,
    # arrays
    "minItems": _is_count,
    "maxItems": _is_count,
    # objects
    "required": lambda value, _: isinstance(value, list) and all(map(_is_text, value)),
    "minProperties": _is_count,
    "maxProperties": _is_count,
    # what tells people something
    "title": _is_text,
    "description": _is_text,
    "default": lambda _value, _: True,
    "examples": lambda _value, _: True,
    "deprecated": _is_flag,
    "readOnly": _is_flag,
    "writeOnly": _is_flag,
    "discriminator": _is_discriminator,
    # further schemas
    **dict.fromkeys(_NAMED, _is_object),
    **dict.fromkeys(_LISTED, _is_list),
    **dict.fromkeys(_ONE, _is_schema_or_flag),
}
"""The vocabulary: each keyword, and whether a value makes sense for it."""
