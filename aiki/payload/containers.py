"""Own the lowering of what holds values: lists, dicts and objects, each with the path to what does not fit."""

import dataclasses
from typing import Any

import msgspec

from aiki.core.bases import plain
from aiki.core.misfit import Misfit
from aiki.core.texts import text_of
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


def each(lower_item: Lower, kind: type, *, exact: bool) -> Lower:
    """Return the lowering of an array, a `kind` whose items are lowered by `lower_item`."""

    def lower(value: Any) -> list[Any]:
        made: list[Any] = []
        items = _sequence(value, kind, exact)
        try:
            for item in items:
                made.append(lower_item(item))  # noqa: PERF401 - the length names the item that fails
        except Misfit as misfit:
            raise misfit.inside(f"[{len(made)}]") from None
        return made

    return lower


def plain_items(cls: type, kind: type, check: Lower | None, lower_each: Lower, *, exact: bool) -> Lower:
    """Return the lowering of an array of text, ints, bools or None: `check` by msgspec is all that `cls` needs.

    Arrays that hold anything else are lowered by `lower_each`.
    """

    def lower(value: Any) -> Any:
        value = _sequence(value, kind, exact)
        if [*map(type, value)].count(cls) == len(value):
            return value if check is None else check(value)
        return lower_each(value)

    return lower


def _sequence(value: Any, kind: type, exact: bool) -> Any:
    if type(value) is kind:
        return value
    if isinstance(value, kind):
        return plain(kind, value, exact=exact)
    if isinstance(value, (list, tuple)):
        got = type(value).__qualname__
        raise Misfit(f"expected {kind.__name__}, got {got}", hint=f"pass {kind.__name__}(value), or annotate a {got}")
    raise unexpected(kind.__name__, value)


def fixed_tuple(lowers: list[Lower], *, exact: bool) -> Lower:
    """Return the lowering of a tuple with one type per item."""

    def lower(value: Any) -> list[Any]:
        if len(_sequence(value, tuple, exact)) != len(lowers):
            raise Misfit(f"expected {len(lowers)} items, got {len(value)}")
        made: list[Any] = []
        try:
            for lower_item, item in zip(lowers, value, strict=True):
                made.append(lower_item(item))
        except Misfit as misfit:
            raise misfit.inside(f"[{len(made)}]") from None
        return made

    return lower


def mapping(lower_key: Lower, lower_value: Lower, of_values: type | None = None, *, exact: bool) -> Lower:
    """Return the lowering of a dict; keys become the text that JSON holds.

    Values of the class `of_values` need none.
    """

    def lower(value: Any) -> dict[str, Any]:
        given = value if type(value) is dict else _dict(value, "dict", exact)
        made: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in given.items():
                name = key if type(key) is str else _key_text(lower_key(key))
                made[name] = item if type(item) is of_values else lower_value(item)
        except Misfit as misfit:
            raise misfit.inside(f".{text_of(key)}") from None
        if len(made) != len(given):
            raise Misfit("a dict with two keys that are the same text in JSON")
        return made

    return lower


def _key_text(key: Any) -> str:
    text = msgspec.to_builtins(key, str_keys=True)
    if isinstance(text, (str, int)) and not isinstance(text, bool):
        return str(text)
    raise Misfit(f"the key {text} is text in JSON, and would not come back as it is", hint="use keys of text")


def _dict(value: Any, expected: str, exact: bool) -> dict[Any, Any]:
    if type(value) is dict:
        return value
    if isinstance(value, dict):
        made: dict[Any, Any] = plain(dict, value, exact=exact)
        return made
    raise unexpected(expected, value)


def typed_dict(cls: type, members: list[Member], *, exact: bool) -> Lower:
    """Return the lowering of a TypedDict. `members` may be filled in later."""
    by_name: dict[str, Member] = {}

    def lower(value: Any) -> dict[str, Any]:
        if not by_name:
            by_name.update((member.name, member) for member in members)
        given = _dict(value, cls.__qualname__, exact)
        made: dict[str, Any] = {}
        name: Any = ""
        try:
            for name, item in given.items():
                if (member := by_name.get(name)) is None:
                    raise Misfit(f"{cls.__qualname__} has no such key, so it would be lost")
                made[member.json_name] = member.lower(item)
        except Misfit as misfit:
            raise misfit.inside(f".{text_of(name)}") from None
        if missing := [member.name for member in members if member.required and member.name not in given]:
            raise Misfit("required key is missing", f".{missing[0]}")
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
    """Return `lower` for instances of `cls` itself: what it reads is a `cls` again, and never a subclass of it."""

    def checked(value: Any) -> Any:
        if type(value) is not cls:
            if not isinstance(value, cls):
                raise unexpected(cls.__qualname__, value)
            name = type(value).__qualname__
            raise Misfit(f"the {name} would arrive as a {cls.__qualname__}", hint=f"annotate it with {name}")
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
