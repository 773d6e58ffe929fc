"""Schemas of somebody who means harm: what a client, and aikid, must take without harm."""

from __future__ import annotations

import json
from typing import Any, Final


def chain(keyword: str, length: int) -> dict[str, Any]:
    """Return definitions each of which applies the next one twice."""
    defs = {f"A{n}": {keyword: [{"$ref": f"#/$defs/A{n + 1}"}] * 2} for n in range(length)}
    return {"$ref": "#/$defs/A0", "$defs": {**defs, f"A{length}": {"type": "integer"}}}


def of_x(schema: object, **more: object) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, **more}


REFERENCES: Final[dict[str, Any]] = {
    "http": of_x({"$ref": "http://127.0.0.1:{port}/schema.json"}),
    "https": of_x({"$ref": "https://127.0.0.1:{port}/schema.json#/a"}),
    "ftp": of_x({"$ref": "ftp://127.0.0.1:{port}/x"}),
    "file": of_x({"$ref": "file:///etc/passwd"}),
    "path": of_x({"$ref": "/etc/passwd"}),
    "relative": of_x({"$ref": "other.json#/$defs/A"}),
    "data": of_x({"$ref": "data:application/json,{}"}),
    "protocol relative": of_x({"$ref": "//127.0.0.1:{port}/x"}),
    "base": {"$id": "http://127.0.0.1:{port}/", **of_x({"$ref": "#/$defs/A"}, **{"$defs": {"A": {}}})},
    "meta": {"$schema": "http://127.0.0.1:{port}/meta", "type": "object"},
    "dynamic": of_x({"$dynamicRef": "#node"}),
    "recursive": of_x({"$recursiveRef": "#"}),
    "discriminator": {
        "anyOf": [{}],
        "discriminator": {"propertyName": "k", "mapping": {"a": "http://127.0.0.1:{port}/"}},
    },
    "root": {"$ref": "#"},
    "elsewhere": of_x({"$ref": "#/definitions/A"}, definitions={"A": {}}),
    "missing": of_x({"$ref": "#/$defs/B"}, **{"$defs": {"A": {}}}),
    "into": of_x({"$ref": "#/$defs/A/properties/x"}, **{"$defs": {"A": of_x({})}}),
    "no text": of_x({"$ref": {"a": 1}}),
}
ENDLESS: Final[dict[str, Any]] = {
    "itself": {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
    "each other": {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"allOf": [{"$ref": "#/$defs/A"}]}}},
    "one of itself": {"$defs": {"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}},
    "all of all": chain("allOf", 40),
    "any of any": chain("anyOf", 40),
    "one of one": chain("oneOf", 40),
    "a long chain": {"$defs": {f"A{n}": {"$ref": f"#/$defs/A{n + 1}"} for n in range(5_000)} | {"A5000": {}}},
}
MALFORMED: Final[dict[str, Any]] = {
    "a list": [],
    "null": None,
    "true": True,
    "text": "type",
    "no such type": {"type": "strnig"},
    "no type": {"type": {"string": 1}},
    "properties": {"properties": ["x"]},
    "a property": {"properties": {"x": 1}},
    "required": {"required": 5},
    "required names": {"required": [{}]},
    "enum": {"enum": "abc"},
    "length": of_x({"minLength": -1}),
    "length text": of_x({"maxLength": "9"}),
    "step": of_x({"multipleOf": 0}),
    "bound": of_x({"minimum": "0"}),
    "items": of_x({"items": [{}]}),
    "options": of_x({"anyOf": {}}),
    "no options": of_x({"anyOf": []}),
    "nested definitions": of_x({"$defs": {"A": {}}}),
    "pattern": of_x({"pattern": 1}),
    "patterns": {"patternProperties": {"^(a+)+$": {}}},
    "unknown": {"x-evaluate": "1"},
    "conditional": {"if": {}, "then": {}, "else": {}},
    "negated": {"not": {}},
    "code": {"']);__import__('os').abort()#": {}},
}
RAW: Final[dict[str, bytes]] = {
    "not UTF-8": b'{"title": "\xff"}',
    "not UTF-8 in a name": b'{"properties": {"\xff": {}}}',
    "too large a number": b'{"default": 1e999}',
    "too long a number": b'{"default": ' + b"1" * 5_000 + b"}",
    "no JSON": b"{",
    "nothing": b" ",
    "deep": b'{"items":' * 5_000 + b"{}" + b"}" * 5_000,
    "deeper": b'{"default":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "large": json.dumps({"description": "x" * (256 * 1024)}).encode(),
    "many": json.dumps({"prefixItems": [{}] * 30_000}).encode(),
}
REFUSED: Final[dict[str, bytes]] = {
    **{
        f"{kind}: {name}": json.dumps(schema).encode()
        for kind, some in (("reference", REFERENCES), ("endless", ENDLESS), ("malformed", MALFORMED))
        for name, schema in some.items()
    },
    **{f"raw: {name}": data for name, data in RAW.items()},
}
"""What neither aikid nor a client takes."""

LONG: Final = "a" * 50_000 + "!"
MANY: Final = {f"n{number}": number for number in range(20_000)}
TREE: Final[dict[str, Any]] = {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"items": {"$ref": "#/$defs/A"}}] * 2}}}
"""Fits in two ways at each level: 2 ** 190 ways to fail at the bottom."""


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


HARMLESS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    # A schema, and a payload of which it may say what it will, if it says it soon.
    "pattern": (of_x({"type": "string", "pattern": "^(a+)+$"}), {"x": LONG}),
    "pattern of names": (of_x({"propertyNames": {"pattern": "^(a|a)*$"}}), {"x": {LONG: 1}}),
    "pattern that is none": (of_x({"pattern": "("}), {"x": "("}),
    "format": (of_x({"format": "regex"}), {"x": "("}),
    "format of code": (of_x({"format": "'+__import__('os').abort()+'"}), {"x": "x"}),
    "address": (of_x({"format": "uri-reference"}), {"x": "http://127.0.0.1/"}),
    "name of code": ({"properties": {"\"'\n{x}__import__('os').abort()#": {"type": "null"}}}, {"x": 1}),
    "definition of code": (
        of_x({"$ref": "#/$defs/a'b\n{}"}, **{"$defs": {"a'b\n{}": {"type": "null"}}}),
        {"x": 1},
    ),
    "date": (of_x({"format": "date-time"}), {"x": "9" * 100_000}),
    "ways": (of_x({"$ref": "#/$defs/A"}, **{"$defs": TREE["$defs"]}), {"x": nested(1, 190)}),
    "ways to fail": (
        of_x({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"anyOf": [{"type": "null"}, *TREE["$defs"]["A"]["anyOf"]]}}}),
        {"x": nested({}, 190)},
    ),
    "constants": (of_x({"items": {"enum": list(range(30_000))}}), {"x": [30_001] * 30_000}),
    "names": (of_x({"items": {"required": [f"n{n}" for n in range(20_000)]}}), {"x": [{}] * 60_000}),
    "names that are there": (of_x({"items": {"required": list(MANY)}}), {"x": [MANY]}),
    "options": (of_x({"items": {"anyOf": [{"const": n} for n in range(900)]}}), {"x": [-1] * 60_000}),
    "members": (of_x({"anyOf": [{"additionalProperties": False}] * 900}), {"x": MANY}),
    "named members": (of_x({"allOf": [{"propertyNames": {"minLength": 1}}] * 900}), {"x": MANY}),
    "default": (of_x({"items": {"properties": {"y": {"default": [0] * 50_000}}}}), {"x": [{"y": [0] * 100}] * 800}),
    "step": (of_x({"multipleOf": 1e-300}), {"x": 10**300}),
    "bounds": (of_x({"minimum": -1.5e308, "maximum": 10**4000}), {"x": 10**3999}),
    "numbers": (of_x({"type": "integer", "multipleOf": 7}), {"x": 1.5e300}),
    "depth": ({"$ref": "#/$defs/A", "$defs": {"A": {"additionalProperties": {"$ref": "#/$defs/A"}}}}, {}),
    "words": (of_x({"title": "\x1b[2J\u202e", "description": "\0"}), {"x": 1}),
}
