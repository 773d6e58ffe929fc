"""Own the reading of a payload that people typed, by the schema of its workflow: what stands at each place. Pure.

A number where the schema has a Decimal goes as text, with the digits that were typed: as Python stores the same
Decimal, so that both have one digest. Elsewhere it is the float that JSON makes of it, and refused where nothing
declares a float and none says the same digits. A cell of a table is read by the type at its place (`payload.cells`).
Whatever else does not fit the schema is left to `payload.schema`.

The schema comes from a stranger: no more than STEPS parts of it are looked at, and from there on nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain, repeat
from math import isfinite
from typing import Any, Final

from aiki.core.misfit import Misfit
from aiki.payload.cells import value_of
from aiki.payload.typed import Cell, Number, shortened
from aiki.wire.schema import Schema, is_decimal, is_open, names_type, referred, takes_any_text

STEPS: Final = 300_000
"""Parts of a schema that are looked at for one payload: less than a second."""
_IN_PLACE: Final = ("anyOf", "oneOf", "allOf")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read(payload: Any, schema: Schema) -> Any:
    """Return the payload with what was typed as the values that it says; `wire.schema` has parsed the schema.

    Raises Misfit, with the place, and RecursionError if the payload contains itself.
    """
    return _Reader(schema).value(payload, [schema])


class _Reader:
    """Reads one payload; each place may have several schemas."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = STEPS

    def value(self, value: Any, schemas: Sequence[Schema]) -> Any:
        """Return what the value is, where any of the schemas may hold."""
        leaves = self._leaves(schemas)
        if isinstance(value, dict):
            return self._object(value, leaves)
        if isinstance(value, (list, tuple)):
            return self._array(value, leaves)
        if isinstance(value, Cell):
            return self.value(value_of(value, leaves), schemas) if leaves else str(value)
        if isinstance(value, str):
            return _text(value, leaves)
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return _number(value, leaves)
        return value

    def _object(self, value: dict[Any, Any], leaves: Sequence[Schema]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        if len(leaves) > 1:
            leaves = [leaf for leaf in leaves if self._may_take(_tags(leaf)) and _has_tags_of(leaf, value)]
        name: Any = None
        try:
            for name, member in value.items():
                leaves = leaves if self._may_take(len(leaves)) else []
                forms = [form for leaf in leaves if isinstance(form := _form_of(leaf, name), dict)]
                if isinstance(member, Cell) and member == "" and forms:
                    required = any(name in leaf.get("required", ()) for leaf in leaves)
                    made.update(self._empty(name, self._leaves(forms), required=required))
                else:
                    made[name] = self.value(member, forms)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        return made

    def _empty(self, name: str, leaves: Sequence[Schema], *, required: bool) -> dict[str, Any]:
        """Return the member that an empty cell makes: empty text, else null where one must be; else none."""
        if any(map(takes_any_text, leaves)):
            return {name: ""}
        return {name: None} if required and any(names_type(leaf, "null") for leaf in leaves) else {}

    def _array(self, value: Sequence[Any], leaves: Sequence[Schema]) -> list[Any]:
        made: list[Any] = []
        by_place = [chain(leaf.get("prefixItems", ()), repeat(leaf.get("items"))) for leaf in leaves]
        try:
            for item in value:
                by_place = by_place if self._may_take(len(by_place)) else []
                forms = [form for forms in by_place if isinstance(form := next(forms), dict)]
                made.append(self.value(item, forms))
        except Misfit as misfit:
            raise misfit.inside(f"[{len(made)}]") from None
        return made

    def _leaves(self, schemas: Sequence[Schema]) -> list[Schema]:
        """Return the schemas and those that they refer to and choose from, as far as they say something themselves.

        There is an end to them: no schema applies by way of itself.
        """
        waiting, found = list({id(schema): schema for schema in schemas}.values()), []
        for schema in waiting:
            if not self._may_take(_parts(schema)):
                return []
            inner = [one for keyword in _IN_PLACE for one in schema.get(keyword, ())]
            if (target := referred(schema, self._root)) is not None:
                inner.append(target)
            waiting += inner
            if not inner or "type" in schema:
                found.append(schema)
        return found

    def _may_take(self, steps: int) -> bool:
        self._left -= steps
        return self._left >= 0


def _parts(schema: Schema) -> int:
    """Return how many parts of a schema looking at it takes, beside the schemas inside it."""
    return 1 + len(schema.get("enum", ())) + len(schema.get("required", ()))


def _tags(leaf: Schema) -> int:
    return sum(map(_parts, leaf.get("properties", {}).values()))


def _has_tags_of(leaf: Schema, value: dict[Any, Any]) -> bool:
    """Tell whether an object may be what the schema describes, as far as its tags tell."""
    for name, form in leaf.get("properties", {}).items():
        tags = form.get("enum") or ([form["const"]] if "const" in form else None)
        if tags and isinstance(tag := value.get(name), str) and tag not in tags:
            return False
    return True


def _form_of(leaf: Schema, name: str) -> Any:
    return leaf.get("properties", {}).get(name, leaf.get("additionalProperties"))


def _text(text: str, leaves: Sequence[Schema]) -> str:
    """Return the text; that of a Decimal as Python spells the same one."""
    if any(map(is_decimal, leaves)) and not any(takes_any_text(leaf) or is_open(leaf) for leaf in leaves):
        return str(Decimal(text)) if _NUMBER.fullmatch(text) else text
    return text


def _number(value: float | Decimal, leaves: Sequence[Schema]) -> Any:
    """Return a number as text where only a Decimal can be; else as JSON has it."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    declared = any(names_type(leaf, "number") or (whole and names_type(leaf, "integer")) for leaf in leaves)
    if not declared and any(map(is_decimal, leaves)) and (isinstance(value, Number) or isfinite(value)):
        return str(value if isinstance(value, Decimal) else Decimal(getattr(value, "digits", repr(value))))
    return _float(value, declared=declared) if isinstance(value, Number) else value


def _float(number: Number, *, declared: bool) -> float:
    value = float(number)
    if not isfinite(value):
        raise Misfit(f"{shortened(number.digits)} is too large for a float")
    if not declared and not _says(value, Decimal(number.digits)):
        raise Misfit(f"{shortened(number.digits)} has more digits than a float can hold: send it as text")
    return value


def _says(value: float, digits: Decimal) -> bool:
    """Tell whether the float, written with as many digits, reads the same."""
    places = len(digits.as_tuple().digits) - 1
    return Decimal(repr(value)) == digits or Decimal(f"{value:.{places}e}") == digits
