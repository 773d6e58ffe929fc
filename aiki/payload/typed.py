"""Own what people typed where no code says its type: the digits of a number, the cell of a table. Pure.

Both are what they look like, a float and text, until the schema at their place tells more (`payload.reading`).
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final, NoReturn

_SHOWN_CHARS: Final = 60


class Number(float):
    """A number of JSON, and the digits that it was written with."""

    digits: str

    def __new__(cls, digits: str) -> Number:
        """Read the digits."""
        made = super().__new__(cls, digits)
        made.digits = digits
        return made


class Cell(str):
    """What stands in a cell of a table."""

    __slots__ = ()


def loads(text: str) -> Any:
    """Return the JSON value in `text`, its fractions as `Number`; what JSON does not say clearly is a ValueError."""
    return json.loads(
        text, object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer, parse_float=Number
    )


def shortened(text: str) -> str:
    """Return as much of what was typed as an error shows."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the member {twice!r} twice")
    return made


def _integer(digits: str) -> int:
    limit = sys.get_int_max_str_digits()
    if limit and len(digits) > limit:
        raise ValueError(f"a number of {len(digits):,} digits; the limit is {limit:,}")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
