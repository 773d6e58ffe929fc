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
from decimal import Decimal, InvalidOperation
from itertools import islice, repeat
from typing import Any, Final, NamedTuple
from uuid import UUID

from aiki.core.misfit import Misfit
from aiki.core.near import did_you_mean, nearest
from aiki.wire.schema import Schema, referred

STEPS: Final = 1_000_000
"""Schemas looked at with a value, and names and constants compared, for one payload: less than a second."""
_SHOWN_CHARS: Final = 60
_SHOWN_NAMES: Final = 10
_FORMATS: Final[dict[str, Callable[[str], object]]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "decimal": lambda text: _decimal(text),
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
    return isinstance(schema, dict) and "default" in schema and _is_same(member, schema["default"])


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
        self.spend(1)
        for keyword, given in schema.items():
            if (kept := _RULES.get(keyword)) is not None and isinstance(value, kept.kinds):
                kept.rule(self, value, given, schema)

    def spend(self, steps: int) -> None:
        """Take so many steps. Raises _Enough if they are not left."""
        self._left -= steps
        if self._left < 0:
            raise _Enough

    # -- of any value

    def reference(self, value: Any, _: str, schema: Schema) -> None:
        target = referred(schema, self._root)
        assert target is not None
        self.value(value, target)

    def kind(self, value: Any, kinds: str | list[str], _: Schema) -> None:
        names = [kinds] if isinstance(kinds, str) else kinds
        if not any(_TYPES[name](value) for name in names):
            raise _Unlike(" or ".join(names), value)

    def constants(self, value: Any, constants: list[Any], _: Schema) -> None:
        self.spend(len(constants))
        if not any(_is_same(value, one) for one in constants):
            raise _Unlike(" or ".join(map(_shown, constants[:_SHOWN_NAMES])), value)

    def constant(self, value: Any, constant: Any, schema: Schema) -> None:
        self.constants(value, [constant], schema)

    def every(self, value: Any, options: list[Schema], _: Schema) -> None:
        for option in options:
            self.value(value, option)

    def some(self, value: Any, options: list[Schema], _: Schema) -> None:
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

    # -- of arrays

    def first_items(self, value: list[Any], forms: list[Schema], _: Schema) -> None:
        self.items_from(0, value, forms)

    def items(self, value: list[Any], form: Schema | bool, schema: Schema) -> None:
        first = len(schema.get("prefixItems", ()))
        if isinstance(form, dict):
            self.items_from(first, islice(value, first, None), repeat(form))
        elif not form and len(value) > first:
            raise Misfit(f"must have at most {first} items, not {len(value)}")

    def items_from(self, place: int, items: Iterable[Any], forms: Iterable[Schema]) -> None:
        try:
            for item, form in zip(items, forms, strict=False):
                self.value(item, form)
                place += 1
        except Misfit as misfit:
            raise misfit.inside(f"[{place}]") from None

    # -- of objects

    def required(self, value: dict[str, Any], names: list[str], schema: Schema) -> None:
        self.spend(len(names))
        if missing := [name for name in names if name not in value]:
            given = nearest(missing[0], (name for name in value if name not in schema.get("properties", {})))
            raise Misfit(f"{_names(missing)} missing" + (f" (is it what {given!r} should be?)" if given else ""))

    def members(self, value: dict[str, Any], forms: dict[str, Schema], _: Schema) -> None:
        self.members_by(forms.get, value)

    def other_members(self, value: dict[str, Any], form: Schema | bool, schema: Schema) -> None:
        known = schema.get("properties", {})
        self.spend(len(value))
        if isinstance(form, dict):
            self.members_by(lambda name: None if name in known else form, value)
        elif not form and (unknown := [name for name in value if name not in known]):
            meant = did_you_mean(unknown[0], known, otherwise=f"there is only {_listed(known) or 'nothing'}")
            raise Misfit(f"{_names(unknown)} not known ({meant})")

    def names(self, value: dict[str, Any], form: Schema | bool, _: Schema) -> None:
        if isinstance(form, dict):
            self.members_by(lambda _: form, {name: name for name in value})

    def members_by(self, form_of: Callable[[str], Schema | None], members: dict[str, Any]) -> None:
        self.spend(len(members))
        name = ""
        try:
            for name, member in members.items():
                if (form := form_of(name)) is not None:
                    self.value(member, form)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None


class _Rule(NamedTuple):
    """What a keyword asks of a value, and of which values it asks anything."""

    kinds: type | tuple[type, ...]
    rule: Callable[[_Check, Any, Any, Schema], None]


def _bound(fits: Callable[[Any, Any], bool], words: str) -> _Rule:
    def rule(_: _Check, value: Any, bound: Any, _schema: Schema) -> None:
        if not isinstance(value, bool) and not fits(value, bound):
            raise _Unlike(f"{words} {bound}", value)

    return _Rule((int, float), rule)


def _count(kind: type, fits: Callable[[int, int], bool], words: str) -> _Rule:
    def rule(_: _Check, value: Any, bound: int, _schema: Schema) -> None:
        if not fits(len(value), bound):
            raise Misfit(f"must have {words.format(bound)}, not {len(value)}")

    return _Rule(kind, rule)


def _format(_: _Check, value: str, name: str, _schema: Schema) -> None:
    if (read := _FORMATS.get(name)) is not None:
        try:
            read(value)
        except ValueError:
            raise _Unlike(f"a {name}", value) from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None


def _is_multiple(value: float, step: float) -> bool:
    # A multiple of a fraction is a matter of rounding: the worker decides it.
    return not isinstance(step, int) or not isinstance(value, int) or value % step == 0


_RULES: Final[dict[str, _Rule]] = {
    "$ref": _Rule(object, _Check.reference),
    "type": _Rule(object, _Check.kind),
    "enum": _Rule(object, _Check.constants),
    "const": _Rule(object, _Check.constant),
    "allOf": _Rule(object, _Check.every),
    "anyOf": _Rule(object, _Check.some),
    "oneOf": _Rule(object, _Check.some),
    "minLength": _count(str, operator.ge, "at least {} characters"),
    "maxLength": _count(str, operator.le, "at most {} characters"),
    "format": _Rule(str, _format),
    "minimum": _bound(operator.ge, "at least"),
    "maximum": _bound(operator.le, "at most"),
    "exclusiveMinimum": _bound(operator.gt, "more than"),
    "exclusiveMaximum": _bound(operator.lt, "less than"),
    "multipleOf": _bound(_is_multiple, "a multiple of"),
    "prefixItems": _Rule(list, _Check.first_items),
    "items": _Rule(list, _Check.items),
    "minItems": _count(list, operator.ge, "at least {} items"),
    "maxItems": _count(list, operator.le, "at most {} items"),
    "required": _Rule(dict, _Check.required),
    "properties": _Rule(dict, _Check.members),
    "additionalProperties": _Rule(dict, _Check.other_members),
    "propertyNames": _Rule(dict, _Check.names),
    "minProperties": _count(dict, operator.ge, "at least {} members"),
    "maxProperties": _count(dict, operator.le, "at most {} members"),
}
"""What is evaluated of the vocabulary. Not `pattern`."""


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
