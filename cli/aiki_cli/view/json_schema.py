"""Own how a class becomes JSON Schema: the members that `view.plain` gives it, each with its type and its docstring.

All members are always there, and further ones may come: a program ignores those that it does not know. Times are RFC
3339 text, lengths of time are seconds.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import reduce
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from aiki import AikiError
from aiki_cli.view.plain import Member, members

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LEAVES: Final[Mapping[object, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number", "description": "Seconds."},
    Path: {"type": "string"},
}
_REFUSAL: Final[Schema] = {
    "title": "Refusal",
    "description": "Why something was refused.",
    "type": "object",
    "properties": {"code": {"type": "string", "description": "Stable."}, "message": {"type": "string"}},
    "required": ["code", "message"],
}


def schema_of(shapes: Sequence[Any], *, title: str) -> Schema:
    """Return the schema of a document that is one of some classes."""
    defs: dict[str, Schema] = {}
    told = _any_of([_of(shape, defs) for shape in shapes])
    return {"$schema": DIALECT, "title": title, **told, "$defs": dict(sorted(defs.items()))}


def _of(hint: Any, defs: dict[str, Schema]) -> Schema:
    """Return the schema of a type; what classes it names are put into `defs`."""
    if hint in _LEAVES:
        return dict(_LEAVES[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _any_of([_of(one, defs) for one in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is None:
        return _named(hint, defs)
    if issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], defs)}
    if origin is tuple and arguments[-1] is not Ellipsis:
        places = [_of(one, defs) for one in arguments]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
    return {"type": "array", "items": _of(arguments[0], defs)}


def _named(of: type[Any], defs: dict[str, Schema]) -> Schema:
    """Return a reference to the schema of a class."""
    if issubclass(of, AikiError):
        defs["Refusal"] = _REFUSAL
        return {"$ref": "#/$defs/Refusal"}
    if of.__name__ not in defs:
        defs[of.__name__] = {}  # so that a class may hold others of its own kind
        defs[of.__name__] = _enumerated(of) if issubclass(of, Enum) else _object(of, defs)
    return {"$ref": f"#/$defs/{of.__name__}"}


def _enumerated(of: type[Enum]) -> Schema:
    return {"title": of.__name__, "description": _told(of), "enum": [one.value for one in of]}


def _object(of: type[Any], defs: dict[str, Schema]) -> Schema:
    if not is_dataclass(of) and not hasattr(of, "__struct_fields__"):
        raise TypeError(f"{of.__name__} has no place in JSON")
    hints, said = _hints(of), _member_docs(of)
    properties = {one.name: _member(one, hints[one.attribute], said.get(one.attribute), defs) for one in members(of)}
    return {
        "title": of.__name__,
        "description": _told(of),
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _member(member: Member, hint: Any, said: str | None, defs: dict[str, Schema]) -> Schema:
    found = _of(hint | None if member.is_nullable else hint, defs)
    if said is None:
        return found
    return {**found, "description": " ".join(filter(None, [said, found.get("description")]))}


def _any_of(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of a value that fits one of some, each of which is named once."""
    different = reduce(lambda found, one: found if one in found else [*found, one], schemas, list[Schema]())
    if len(different) == 1:
        return different[0]
    if all(set(one) == {"type"} for one in different):
        return {"type": [one["type"] for one in different]}
    return {"anyOf": different}


def _hints(of: type[Any]) -> dict[str, Any]:
    """Return the types of a class's members, and of its properties."""
    hints = get_type_hints(of)
    for one in reversed(of.__mro__):
        names = vars(sys.modules[one.__module__])
        for name, member in vars(one).items():
            if isinstance(member, property):
                hints[name] = get_type_hints(member.fget, names)["return"]
    return hints


def _told(of: type[Any]) -> str:
    """Return what a class is, as it says itself."""
    return " ".join(textwrap.dedent(of.__doc__ or "").split())


def _member_docs(of: type[Any]) -> dict[str, str]:
    """Return what is said of each member: the docstring that stands below it, or that of the property."""
    said: dict[str, str] = {}
    for one in reversed(of.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        except (OSError, TypeError, IndexError):
            continue
        if isinstance(body, ast.ClassDef):
            said |= _docs_in(body)
    return said


def _docs_in(body: ast.ClassDef) -> dict[str, str]:
    said: dict[str, str] = {}
    above: str | None = None
    for node in body.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                above = name
            case ast.Expr(value=ast.Constant(value=str(text))) if above is not None:
                said[above] = " ".join(text.split())
                above = None
            case ast.FunctionDef(name=name) if told := ast.get_docstring(node):
                said[name] = " ".join(told.split())
            case _:
                above = None
    return said
