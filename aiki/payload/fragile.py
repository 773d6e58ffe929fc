"""Own the question whether reading a type may make another value of it: by code of its own, or by what JSON leaves out.

Most types cannot. Of those that can, what a value becomes is found out when it is encoded (`aiki.payload.arrival`).
"""

import dataclasses
from typing import Any, get_origin

import msgspec.inspect as mi

_HOOKS = ("__post_init__", "__attrs_pre_init__", "__attrs_post_init__")


def is_fragile(node: mi.Type) -> bool:
    """Tell whether a value of the type, or a part of one, may be read as another value than was encoded."""
    return _is_fragile(node, set())


def _is_fragile(node: mi.Type, seen: set[int]) -> bool:
    if id(node) in seen:
        return False
    seen.add(id(node))
    match node:
        case mi.CustomType():
            return True
        case mi.DictType() if isinstance(node.key_type, (mi.UnionType, mi.LiteralType)):
            return True  # 1 and "1" are the same key in JSON
        case mi.StructType() | mi.DataclassType() if _has_own_code(get_origin(node.cls) or node.cls):
            return True
        case _:
            return any(_is_fragile(part, seen) for part in _parts(node))


def _parts(node: mi.Type) -> list[mi.Type]:
    match node:
        case mi.Metadata():
            return [node.type]
        case mi.UnionType():
            return list(node.types)
        case mi.ListType() | mi.VarTupleType():
            return [node.item_type]
        case mi.TupleType():
            return list(node.item_types)
        case mi.DictType():
            return [node.key_type, node.value_type]
        case mi.TypedDictType() | mi.StructType() | mi.DataclassType() | mi.NamedTupleType():
            return [field.type for field in node.fields]
        case _:
            return []


def _has_own_code(cls: Any) -> bool:
    """Tell whether code of the class runs when msgspec makes an instance: it sets the fields itself."""
    return any(hasattr(cls, hook) for hook in _HOOKS) or any(
        isinstance(getattr(cls, field.name, None), property) for field in _fields(cls)
    )


def _fields(cls: Any) -> tuple[Any, ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
