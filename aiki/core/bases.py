"""Own what becomes of an instance of a subclass where its base is declared: numpy's float64, Django's SafeString.

JSON holds the base's value alone. Where that equals the instance it is stored, as plain data from anywhere would be;
where `exact` is asked for, between a workflow's body and its tasks, or where they differ, the instance is refused: what
arrives is never another value than what was passed.
"""

import datetime
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from aiki.core.misfit import Misfit

# Python's own methods: a subclass may have overridden any of them.
_PLAIN: Final[dict[type, tuple[Callable[[Any], Any], str]]] = {
    str: (str.__str__, "str(value)"),
    int: (int.__int__, "int(value)"),
    float: (float.__float__, "float(value)"),
    bytes: (lambda value: bytes.__getitem__(value, slice(None)), "bytes(value)"),
    bytearray: (lambda value: bytearray(bytearray.__getitem__(value, slice(None))), "bytearray(value)"),
    Decimal: (Decimal, "Decimal(value)"),
    UUID: (lambda value: UUID(int=value.int), "UUID(int=value.int)"),
    datetime.datetime: (
        lambda value: datetime.datetime.combine(_date(value), _time(value)),
        "datetime.fromisoformat(value.isoformat())",
    ),
    datetime.date: (lambda value: _date(value), "date(value.year, value.month, value.day)"),
    datetime.time: (lambda value: _time(value), "time.fromisoformat(value.isoformat())"),
    datetime.timedelta: (
        lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
        "timedelta(value.days, value.seconds, value.microseconds)",
    ),
    dict: (dict.copy, "dict(value)"),
    list: (list.copy, "list(value)"),
    tuple: (lambda value: tuple.__getitem__(value, slice(None)), "tuple(value)"),
}

BASES: Final = frozenset(_PLAIN)
"""The classes whose subclasses' instances can be stored as plain values."""


def plain(base: type, value: Any, *, exact: bool) -> Any:
    """Return the plain value of `base` that equals `value`, an instance of it.

    Raises Misfit if there is none, and with `exact` if `value` is of a subclass.
    """
    if type(value) is base:
        return value
    make, spelled = _PLAIN[base]
    kind = type(value).__qualname__
    hint = f"pass value.value, or annotate it with {kind}" if isinstance(value, Enum) else f"pass {spelled}"
    if exact:
        raise Misfit(f"the {kind} would arrive as a plain {base.__name__}", hint=hint)
    try:
        made = make(value)
        if made == value:
            return made
    except Exception as error:  # noqa: BLE001 - the boundary of user code
        raise Misfit(f"the {kind} cannot be made a plain {base.__name__}: {type(error).__name__} was raised") from None
    raise Misfit(f"the {kind} would arrive as a {base.__name__} that does not equal it", hint=hint)


def _date(value: datetime.date) -> datetime.date:
    return datetime.date(value.year, value.month, value.day)


def _time(value: datetime.time | datetime.datetime) -> datetime.time:
    parts = (value.hour, value.minute, value.second, value.microsecond)
    return datetime.time(*parts, tzinfo=value.tzinfo, fold=value.fold)
