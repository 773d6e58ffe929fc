"""Own the lowering of scalars: what is checked of text, numbers and times, and which constraints msgspec checks."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
import msgspec.inspect as mi

from aiki.core.canonical import Misfit, float_value

Lower: TypeAlias = Callable[[Any], Any]

PLAIN: Final[dict[type[mi.Type], type]] = {
    mi.StrType: str,
    mi.IntType: int,
    mi.BoolType: bool,
    mi.NoneType: NoneType,
    mi.BytesType: bytes,
    mi.UUIDType: UUID,
}
SCALARS: Final[dict[type[mi.Type], type]] = {
    **PLAIN,
    mi.FloatType: float,
    mi.ByteArrayType: bytearray,
    mi.DecimalType: Decimal,
    mi.DateTimeType: datetime.datetime,
    mi.DateType: datetime.date,
    mi.TimeType: datetime.time,
    mi.TimeDeltaType: datetime.timedelta,
}
_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")
_MINUTE: Final = datetime.timedelta(minutes=1)


def instance_of(cls: type) -> Lower:
    """Return the check that a value is an instance of `cls`."""

    def lower(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise unexpected(cls.__qualname__, value)

    return lower


def integer(value: Any) -> Any:
    """Return an int; a bool is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise unexpected("int", value)


def plain_float(value: Any) -> Any:
    """Return a finite float."""
    if isinstance(value, float):
        return float_value(value, c1=False)
    return _integer_as_float(value)


def c1_float(value: Any) -> Any:
    """Return a finite float as form c1 has it; an int where a float is declared would arrive as that float."""
    if isinstance(value, float):
        return float_value(value, c1=True)
    return float_value(_integer_as_float(value), c1=True)


def _integer_as_float(value: Any) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise Misfit("an integer too large for a float") from None
    raise unexpected("float", value)


def decimal(value: Any) -> Any:
    """Return a finite Decimal."""
    if not isinstance(value, Decimal):
        raise unexpected("Decimal", value)
    if not value.is_finite():
        raise Misfit(f"Decimal {value} is not a number that JSON can hold")
    return value


def clock(cls: type) -> Lower:
    """Return the check of a datetime or time."""

    def lower(value: Any) -> Any:
        if not isinstance(value, cls):
            raise unexpected(cls.__qualname__, value)
        offset = value.utcoffset()  # type: ignore[attr-defined]
        if offset is not None and offset % _MINUTE:
            # RFC 3339 has no seconds in an offset: they would be lost without a word.
            raise Misfit(f"{value!r} has an offset of {offset}, which RFC 3339 cannot hold: convert it to UTC")
        return value

    return lower


def date(value: Any) -> Any:
    """Return a date that is no datetime."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    raise unexpected("date", value)


def is_constrained(node: mi.Type) -> bool:
    """Tell whether the annotation says more than the type, such as a range or a length."""
    return any(getattr(node, name, None) is not None for name in _CONSTRAINTS)


def constrained(node: mi.Type, lower: Lower) -> Lower:
    """Return `lower` after a check of the constraints."""
    check = converted(node)

    def constrained(value: Any) -> Any:
        check(value)
        return lower(value)

    return constrained


def converted(node: mi.Type) -> Lower:
    """Return a check by msgspec itself, in C, of scalars, literals and lists of them. The result may be a copy."""
    annotation = _annotation(node)

    def lower(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            raise Misfit(reason[:1].lower() + reason[1:], path.rstrip("`")) from None

    return lower


def _annotation(node: mi.Type) -> Any:
    """Return the annotation of a node with its constraints, as far as scalars and arrays of them go."""
    made: Any
    match node:
        case mi.Metadata():
            return _annotation(node.type)
        case mi.LiteralType():
            return Literal[tuple(node.values)]
        case mi.ListType() | mi.VarTupleType():
            made = list[_annotation(node.item_type)]  # type: ignore[misc]
        case mi.DictType():
            made = dict[Any, Any]
        case _:
            made = SCALARS.get(type(node), Any)
    limits = {name: limit for name in _CONSTRAINTS if (limit := getattr(node, name, None)) is not None}
    return Annotated[made, msgspec.Meta(**limits)] if limits else made


def unexpected(expected: str, value: Any) -> Misfit:
    """Return what to say of a value of another class."""
    got = "None" if value is None else type(value).__qualname__
    return Misfit(f"expected {expected}, got {got}".replace("NoneType", "None"))
