"""Own the lowering of scalars: what is checked of text, numbers and times, and which constraints msgspec checks."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec
import msgspec.inspect as mi

from aiki.core.bases import plain
from aiki.core.canonical import float_value
from aiki.core.misfit import Misfit
from aiki.core.texts import shown

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
_LITERALS: Final = (str, int, bool)
_NO_ZONE: Final = "pass value.replace(tzinfo=None, fold=0), and its zone beside it"
_TO_UTC: Final = "pass value.astimezone(datetime.UTC), and the zone's name beside it if it matters"


def instance_of(cls: type, *, exact: bool) -> Lower:
    """Return the lowering of a scalar of the class `cls`; what is of a subclass becomes plain, or is refused."""

    def lower(value: Any) -> Any:
        if type(value) is cls:
            return value
        if isinstance(value, cls):
            return plain(cls, value, exact=exact)
        raise unexpected(cls.__qualname__, value)

    return lower


def member_of(cls: type) -> Lower:
    """Return the check that a value is a member of the enum `cls`."""

    def lower(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise unexpected(cls.__qualname__, value)

    return lower


def integer(*, exact: bool) -> Lower:
    """Return the lowering of an int; a bool is none."""
    lower_plain = instance_of(int, exact=exact)

    def lower(value: Any) -> Any:
        if isinstance(value, bool):
            raise unexpected("int", value)
        return lower_plain(value)

    return lower


def real(*, c1: bool, exact: bool) -> Lower:
    """Return the lowering of a finite float, as form c1 has it or whole.

    An int is one too, as for type checkers, if a float equals it: where nothing but floats are read it arrives as that.
    """

    def lower(value: Any) -> Any:
        if type(value) is float:
            return float_value(value, c1=c1)
        if isinstance(value, float):
            return float_value(plain(float, value, exact=exact), c1=c1)
        if isinstance(value, int) and not isinstance(value, bool):
            return _integer_as_float(plain(int, value, exact=exact), c1)
        raise unexpected("float", value)

    return lower


def _integer_as_float(value: int, c1: bool) -> float | int:
    try:
        made = float(value)
    except OverflowError:
        raise Misfit("an integer too large for a float") from None
    if made != value:
        raise Misfit("an integer that no float equals", hint="annotate it with int")
    return float_value(made, c1=True) if c1 else value


def decimal(*, exact: bool) -> Lower:
    """Return the lowering of a finite Decimal."""
    lower_plain = instance_of(Decimal, exact=exact)

    def lower(value: Any) -> Any:
        made: Decimal = lower_plain(value)
        if not made.is_finite():
            raise Misfit(f"Decimal {made} is not a number that JSON can hold")
        return made

    return lower


def clock(cls: type, *, exact: bool) -> Lower:
    """Return the lowering of a datetime or time."""
    lower_plain = instance_of(cls, exact=exact)

    def lower(value: Any) -> Any:
        made = lower_plain(value)
        if made.tzinfo is datetime.UTC and not made.fold:
            return made
        check_clock(made)
        return made

    return lower


def check_clock(value: datetime.datetime | datetime.time) -> None:
    """Raise Misfit if RFC 3339 cannot hold what a datetime or time says: an offset of whole minutes, and no more.

    A zone that has no one offset (Europe/Berlin) is refused: by its offset of today alone, half a year later is
    another hour.
    """
    cls, hint = type(value).__name__, _TO_UTC if isinstance(value, datetime.datetime) else _NO_ZONE
    if value.fold:
        # The second of two equal hours: by the offset alone it would not even equal itself.
        raise Misfit(f"a {cls} with fold=1, which would be lost", hint=hint)
    if value.tzinfo is None:
        return
    offset = value.utcoffset()
    if offset is None:
        raise Misfit(f"the zone {shown(value.tzinfo)} of a {cls} has no offset without a date", hint=hint)
    if offset % _MINUTE:
        # RFC 3339 has no seconds in an offset: they would be lost without a word.
        raise Misfit(f"an offset of {offset}, which RFC 3339 cannot hold", hint=hint)
    if value.tzinfo.utcoffset(None) is None:
        raise Misfit(f"the zone {shown(value.tzinfo)} would arrive as the offset {offset} alone", hint=hint)


def date(*, exact: bool) -> Lower:
    """Return the lowering of a date that is no datetime."""
    lower_plain = instance_of(datetime.date, exact=exact)

    def lower(value: Any) -> Any:
        if isinstance(value, datetime.datetime):
            raise unexpected("date", value)
        return lower_plain(value)

    return lower


def literal(node: mi.LiteralType, *, exact: bool) -> Lower:
    """Return the lowering of a literal, text or an int or None."""
    check = converted(node)

    def lower(value: Any) -> Any:
        base = next((base for base in (str, int) if isinstance(value, base) and type(value) not in _LITERALS), None)
        return check(value if base is None else plain(base, value, exact=exact))

    return lower


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
    kind = type(value)
    got = "None" if value is None else kind.__qualname__
    if got == expected:  # another class of the same name, such as numpy's bool
        got = f"{kind.__module__}.{got}"
    return Misfit(f"expected {expected}, got {got}".replace("NoneType", "None"))
