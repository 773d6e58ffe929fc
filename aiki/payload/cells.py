"""Own what a cell of a table says, read by the type at its place. Pure.

A table has nothing but text: `5` is a number where an int is declared, and text where text is. What a place could
read in two ways is refused, and so is what only a guess would make a value of: `1,234` may be a thousand or a little
more than one, and `03/04/2026` in April or in March.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Final

from aiki.core.misfit import Misfit
from aiki.payload.typed import Cell, Number, loads, shortened
from aiki.wire.schema import Schema, is_decimal, is_open, takes_any_text, types

_WHOLE: Final = re.compile(r"([+-]?[0-9]{1,1000})(?:\.0*)?")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
_FORMATS: Final = {
    "decimal": (_NUMBER, "a decimal number"),
    "date": (re.compile(_DATE), "a date such as 2026-01-31"),
    "time": (re.compile(_TIME), "a time such as 09:30:00"),
    "date-time": (re.compile(f"{_DATE}[Tt ]{_TIME}"), "a time such as 2026-01-31T09:30:00Z"),
}
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "t", "1"), True),
    **dict.fromkeys(("false", "no", "f", "0"), False),
}
_DOUBTS: Final = (
    (re.compile(r"[0-9][,.'\s][0-9]{3}\b|[0-9],[0-9]"), "it may hold a mark of thousands, or of a fraction"),
    (re.compile("[0-9]+[/.][0-9]+[/.][0-9]+"), "the day or the month may stand first"),
)
_BEGINNINGS_OF_JSON: Final = ("{", "[", '"')
"""What nobody begins mere text with. Numbers, true and null may be meant either way."""
_SHOWN_CONSTANTS: Final = 10


def value_of(cell: Cell, leaves: Sequence[Schema]) -> Any:
    """Return the one value that a cell says, where any of the schemas may hold. Raises Misfit if it says none or two.

    `leaves` refer to no others. A number is returned as a `Number`, so that no digit is lost before its place is known.
    """
    found: dict[Any, Any] = {}
    for value in chain.from_iterable(_readings(str(cell), leaf) for leaf in leaves):
        # 5 and 5.0 are one value, 1 and true are two.
        found.setdefault((type(value) is bool, value) if value.__hash__ else repr(value), value)
    if len(found) == 1:
        return next(iter(found.values()))
    shown = shortened(repr(str(cell)))
    if found:
        values = " or ".join(json.dumps(value, ensure_ascii=False) for value in found.values())
        raise Misfit(f"the cell {shown} may be {values}: end the column's name with a colon, and write it as JSON")
    expected = " or ".join(dict.fromkeys(chain.from_iterable(map(_words, leaves))))
    doubt = next((f" ({words})" for pattern, words in _DOUBTS if pattern.search(cell)), "")
    raise Misfit(f"the cell {shown} is not {expected}{doubt}")


def _readings(cell: str, leaf: Schema) -> Iterator[Any]:
    if constants := _constants(leaf):
        yield from (one for one in constants if cell == (one if isinstance(one, str) else json.dumps(one)))
    elif is_open(leaf):
        if not cell.lstrip().startswith(_BEGINNINGS_OF_JSON):
            yield cell
        yield from _json(cell, leaf)
    else:
        for name in types(leaf):
            yield from _READINGS[name](cell if takes_any_text(leaf) else cell.strip(), leaf)


def _text(cell: str, leaf: Schema) -> Iterator[str]:
    pattern, _ = _FORMATS.get(leaf.get("format", ""), (None, ""))
    if pattern is None or pattern.fullmatch(cell):
        yield str(Decimal(cell)) if is_decimal(leaf) else cell


def _whole(cell: str, _: Schema) -> Iterator[int]:
    if match := _WHOLE.fullmatch(cell):
        yield int(match[1])


def _number(cell: str, _: Schema) -> Iterator[Number]:
    if _NUMBER.fullmatch(cell):
        yield Number(cell)


def _boolean(cell: str, _: Schema) -> Iterator[bool]:
    if cell.lower() in _BOOLEANS:
        yield _BOOLEANS[cell.lower()]


def _json(cell: str, leaf: Schema) -> Iterator[Any]:
    try:
        value = loads(cell)
    except (ValueError, RecursionError):
        return
    if is_open(leaf) or isinstance(value, dict if "object" in types(leaf) else list):
        yield value


def _null(_cell: str, _leaf: Schema) -> Iterator[None]:
    return iter(())  # only an empty cell is null, and no reading comes so far


_READINGS: Final[dict[str, Callable[[str, Schema], Iterator[Any]]]] = {
    "string": _text,
    "integer": _whole,
    "number": _number,
    "boolean": _boolean,
    "null": _null,
    "array": _json,
    "object": _json,
}
_NAMES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a JSON array",
    "object": "a JSON object",
}


def _words(leaf: Schema) -> Iterator[str]:
    """Yield what a cell could be there."""
    if constants := _constants(leaf):
        yield from (shortened(repr(one)) for one in islice(constants, _SHOWN_CONSTANTS))
    elif is_open(leaf):
        yield "JSON"
    else:
        _, words = _FORMATS.get(leaf.get("format", ""), (None, ""))
        yield from (words or _NAMES[name] for name in types(leaf) if name in _NAMES)


def _constants(leaf: Schema) -> Sequence[Any]:
    return [leaf["const"]] if "const" in leaf else leaf.get("enum", ())
