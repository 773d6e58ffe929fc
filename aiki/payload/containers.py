"""Own the lowering of what holds values: lists, dicts and objects, each with the path to what does not fit."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec

from aiki.core.canonical import Misfit
from aiki.payload.defaults import IsDefault
from aiki.payload.scalars import Lower, unexpected


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A field: where its value is, what it is called in JSON, and how it is lowered."""

    name: str
    json_name: str
    required: bool
    exact: type | None
    lower: Lower
    is_default: IsDefault | None


def each(lower_item: Lower) -> Lower:
    """Return the lowering of an array whose items are lowered by `lower_item`."""

    def lower(value: Any) -> list[Any]:
        made: list[Any] = []
        try:
            for item in _sequence(value):
                made.append(lower_item(item))  # noqa: PERF401 - the length names the item that fails
        except Misfit as misfit:
            raise misfit.inside(f"[{len(made)}]") from None
        return made

    return lower


def scalar_list(check: Lower) -> Lower:
    """Return the lowering of an array whose items msgspec checks."""
    return lambda value: check(_sequence(value))


def _sequence(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return value
    raise unexpected("list", value)


def fixed_tuple(lowers: list[Lower]) -> Lower:
    """Return the lowering of a tuple with one type per item."""

    def lower(value: Any) -> list[Any]:
        if len(_sequence(value)) != len(lowers):
            raise Misfit(f"expected {len(lowers)} items, got {len(value)}")
        made: list[Any] = []
        try:
            for lower_item, item in zip(lowers, value, strict=True):
                made.append(lower_item(item))
        except Misfit as misfit:
            raise misfit.inside(f"[{len(made)}]") from None
        return made

    return lower


def mapping(lower_key: Lower, lower_value: Lower, exact: type | None = None) -> Lower:
    """Return the lowering of a dict; keys become the text that JSON holds. Values of the class `exact` need none."""

    def lower(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unexpected("dict", value)
        made: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in value.items():
                name = key if type(key) is str else str(msgspec.to_builtins(lower_key(key), str_keys=True))
                made[name] = item if type(item) is exact else lower_value(item)
        except Misfit as misfit:
            raise misfit.inside(f".{key}") from None
        if len(made) != len(value):
            raise Misfit("a dict with two keys that are the same text in JSON")
        return made

    return lower


def typed_dict(cls: type, members: list[Member]) -> Lower:
    """Return the lowering of a TypedDict. `members` may be filled in later."""

    def lower(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unexpected(cls.__qualname__, value)
        made: dict[str, Any] = {}
        name = ""
        try:
            for member in members:
                name = member.name
                if name in value:
                    made[member.json_name] = member.lower(value[name])
                elif member.required:
                    raise Misfit("required key is missing")
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        if len(made) != len(value):
            unknown = sorted(value.keys() - {member.name for member in members}, key=str)
            raise Misfit(f"{cls.__qualname__} has no key {unknown[0]!r}, so it would be lost")
        return made

    return lower


def object_of(cls: type, tag: dict[str, Any], members: list[Member]) -> Lower:
    """Return the lowering of an object to a dict. `members` may be filled in later."""

    def lower(value: Any) -> dict[str, Any]:
        made = tag.copy()
        name = ""
        try:
            for member in members:
                name = member.name
                item = getattr(value, name)
                if type(item) is not member.exact:
                    if item is msgspec.UNSET:
                        continue
                    item = member.lower(item)
                if member.is_default is None or not member.is_default(item):
                    made[member.json_name] = item
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        except AttributeError:
            raise Misfit(f"{cls.__qualname__} has no value for its field `{name}`") from None
        return made

    return checked(cls, lower)


def array_of(cls: type, tag: Any, members: list[Member]) -> Lower:
    """Return the lowering of a NamedTuple or array-like Struct. `members` may be filled in later."""

    def lower(value: Any) -> list[Any]:
        made = [] if tag is None else [tag]
        needed = len(made)
        name = ""
        try:
            for member in members:
                name = member.name
                item = member.lower(getattr(value, name))
                made.append(item)
                if member.is_default is None or not member.is_default(item):
                    needed = len(made)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        # Only trailing defaults can be left out: the place of an item is its name.
        return made[:needed]

    return checked(cls, lower)


def checked(cls: type, lower: Lower) -> Lower:
    """Return `lower` for instances of `cls`, and of subclasses that have no further fields."""

    def checked(value: Any) -> Any:
        if type(value) is not cls:
            if not isinstance(value, cls):
                raise unexpected(cls.__qualname__, value)
            if _field_names(type(value)) != _field_names(cls):
                name = type(value).__qualname__
                raise Misfit(f"{name} has more fields than the declared {cls.__qualname__}, and they would be lost")
        return lower(value)

    return checked


def one_of(lowers: dict[type, Lower]) -> Lower:
    """Return the lowering by the class of a value; the first that matches wins."""

    def lower(value: Any) -> Any:
        found = lowers.get(type(value))
        if found is None:
            found = next((lower for kind, lower in lowers.items() if isinstance(value, kind)), None)
            if found is None:
                raise unexpected(" or ".join(dict.fromkeys(kind.__qualname__ for kind in lowers)), value)
        return found(value)

    return lower


def _field_names(cls: Any) -> Iterable[str]:
    if issubclass(cls, msgspec.Struct):
        return tuple(cls.__struct_fields__)
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if hasattr(cls, "__attrs_attrs__"):
        return tuple(field.name for field in cls.__attrs_attrs__)
    return tuple(getattr(cls, "model_fields", getattr(cls, "_fields", ())))
