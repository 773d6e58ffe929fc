"""Own the check of a payload that has a schema and no code: what enqueue by name refuses before anything is sent.

The schema comes from a stranger. Nothing is compiled from it, its patterns are not evaluated, and a check ends: it
looks at no more than STEPS places. What is not looked at is left to the worker, which checks each payload against the
types themselves. So is what a schema cannot say exactly: with `oneOf` a value need not fit one schema alone, and of
formats only those below are known.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable
from datetime import date, datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from aiki.core.canonical import Misfit
from aiki.wire.schema import Schema, referred

STEPS: Final = 1_000_000
"""Schemas looked at with a value, and names and constants compared, for one payload: less than a second."""
_SHOWN_CHARS: Final = 60
_SHOWN_NAMES: Final = 10
_FORMATS: Final[dict[str, Callable[[str], object]]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
}
_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": lambda value: _is_number(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def check(payload: Any, schema: Schema) -> None:
    """Raise Misfit, with the place, if the payload does not fit a schema that `wire.schema` has parsed."""
    with contextlib.suppress(_Enough, RecursionError):
        _Check(schema).value(payload, schema)


def without_defaults(value: Any, schema: Any, root: Schema) -> Any:
    """Return `value` without members equal to their schema's default: as form `c1` has it for typed payloads."""
    if not isinstance(schema, dict):
        return value
    if (target := referred(schema, root)) is not None:
        return without_defaults(value, target, root)
    if isinstance(value, list):
        return [without_defaults(item, schema.get("items"), root) for item in value]
    if not isinstance(value, dict):
        return value
    members = schema.get("properties", {})
    return {
        name: without_defaults(member, members.get(name), root)
        for name, member in value.items()
        if not _is_default(member, members.get(name))
    }


def _is_default(member: Any, schema: Any) -> bool:
    return (
        isinstance(schema, dict)
        and "default" in schema
        and type(schema["default"]) is type(member)
        and bool(schema["default"] == member)
    )


class _Enough(Exception):
    """All steps were taken."""


class _Unlike(Misfit):
    """A value is not what it must be; what it must be can be joined with the other things that it might be."""

    def __init__(self, must: str, value: Any) -> None:
        super().__init__(f"must be {must}, not {_shown(value)}")
        self.must = must


class _Check:
    """One check of one payload."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = STEPS

    def value(self, value: Any, schema: Schema) -> None:
        """Raise Misfit if the value does not fit, _Enough if there is no step left to find out."""
        self._left -= 1 + len(schema.get("enum", ())) + len(schema.get("required", ()))
        if self._left < 0:
            raise _Enough
        if (target := referred(schema, self._root)) is not None:
            self.value(value, target)
        _check_kind(value, schema)
        for every in schema.get("allOf", ()):
            self.value(value, every)
        for options in (schema.get("anyOf"), schema.get("oneOf")):
            if options is not None:
                self._some(value, options)
        match value:
            case dict():
                self._object(value, schema)
            case list():
                self._array(value, schema)
            case str():
                _check_text(value, schema)
            case int() | float() if not isinstance(value, bool):
                _check_number(value, schema)

    def _some(self, value: Any, options: Iterable[Schema]) -> None:
        misfits: list[Misfit] = []
        for option in options:
            try:
                self.value(value, option)
            except Misfit as misfit:
                misfits.append(misfit)
            else:
                return
        # What got furthest is what was meant, most likely.
        best = max(misfits, key=lambda misfit: (len(misfit.path), not isinstance(misfit, _Unlike)))
        if isinstance(best, _Unlike) and not best.path:
            musts = dict.fromkeys(misfit.must for misfit in misfits if isinstance(misfit, _Unlike))
            raise _Unlike(" or ".join(list(musts)[:_SHOWN_NAMES]), value)
        raise best

    def _array(self, value: list[Any], schema: Schema) -> None:
        _check_count(value, schema, "Items", "items")
        first = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        if rest is False and len(value) > len(first):
            raise Misfit(f"must have at most {len(first)} items, not {len(value)}")
        place = 0
        try:
            for place, item in enumerate(value):
                part = first[place] if place < len(first) else rest
                if isinstance(part, dict):
                    self.value(item, part)
        except Misfit as misfit:
            raise misfit.inside(f"[{place}]") from None

    def _object(self, value: dict[str, Any], schema: Schema) -> None:
        if missing := [name for name in schema.get("required", ()) if name not in value]:
            raise Misfit(f"{_names(missing)} missing")
        _check_count(value, schema, "Properties", "members")
        known = schema.get("properties", {})
        other = schema.get("additionalProperties", True)
        if other is False and (unknown := [name for name in value if name not in known]):
            there = _listed(known) or "nothing"
            raise Misfit(f"{_names(unknown)} not known (there is only {there})")
        names = schema.get("propertyNames")
        name = ""
        try:
            for name, member in value.items():
                if isinstance(names, dict):
                    self.value(name, names)
                if isinstance(part := known.get(name, other), dict):
                    self.value(member, part)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None


def _check_kind(value: Any, schema: Schema) -> None:
    if (kinds := schema.get("type")) is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_TYPES[kind](value) for kind in kinds):
            raise _Unlike(" or ".join(kinds), value)
    if (constants := schema.get("enum")) is not None and not any(_is_same(value, one) for one in constants):
        raise _Unlike(" or ".join(map(_shown, constants[:_SHOWN_NAMES])), value)
    if "const" in schema and not _is_same(value, schema["const"]):
        raise _Unlike(_shown(schema["const"]), value)


def _check_text(value: str, schema: Schema) -> None:
    _check_count(value, schema, "Length", "characters")
    read = _FORMATS.get(schema.get("format", ""))
    if read is not None:
        try:
            read(value)
        except ValueError:
            raise _Unlike(f"a {schema['format']}", value) from None


def _check_number(value: float, schema: Schema) -> None:
    for keyword, fits, words in _BOUNDS:
        if keyword in schema and not fits(value, schema[keyword]):
            raise _Unlike(f"{words} {schema[keyword]}", value)
    step = schema.get("multipleOf")
    # A multiple of a fraction is a matter of rounding: the worker decides it.
    if isinstance(step, int) and isinstance(value, int) and value % step:
        raise _Unlike(f"a multiple of {step}", value)


def _check_count(value: str | list[Any] | dict[str, Any], schema: Schema, keyword: str, words: str) -> None:
    least, most = schema.get(f"min{keyword}", 0), schema.get(f"max{keyword}")
    if len(value) < least:
        raise Misfit(f"must have at least {least} {words}, not {len(value)}")
    if most is not None and len(value) > most:
        raise Misfit(f"must have at most {most} {words}, not {len(value)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_same(value: Any, constant: Any) -> bool:
    return bool(value == constant) and isinstance(value, bool) == isinstance(constant, bool)


def _names(names: list[str]) -> str:
    return f"{_listed(names)} {'is' if len(names) == 1 else 'are'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_shown(name) for name in islice(names, _SHOWN_NAMES))


def _shown(value: Any) -> str:
    shown = repr(value) if isinstance(value, (str, int, float)) or value is None else ""
    return (
        shown if 0 < len(shown) <= _SHOWN_CHARS else f"a long {type(value).__name__}" if shown else type(value).__name__
    )


_BOUNDS: Final[tuple[tuple[str, Callable[[float, float], bool], str], ...]] = (
    ("minimum", operator.ge, "at least"),
    ("maximum", operator.le, "at most"),
    ("exclusiveMinimum", operator.gt, "more than"),
    ("exclusiveMaximum", operator.lt, "less than"),
)
