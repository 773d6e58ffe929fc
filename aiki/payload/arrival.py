"""Own the comparison of a value with what arrives of it, for types whose reading may change it.

What runs user code when it is read (pydantic models, `__post_init__`) is read once where it is encoded, and compared in
all its parts, also in those that its own `==` leaves out: private attributes, fields with `compare=False`.
"""

import dataclasses
import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from aiki.core.bases import BASES
from aiki.core.misfit import Misfit
from aiki.core.texts import PLAIN, text_of
from aiki.payload import models
from aiki.payload.scalars import check_clock

AS_IT_IS: Final = (
    "what arrives is what was dumped and read again: no field of it may be excluded or private,"
    " and serializers, validators and __post_init__ must leave alone what they have made once"
)
# What equal values may still differ in: the sign of zero, the digits of a Decimal, the hour on the clock.
_ASPECTS: Final[dict[type, Callable[[Any], Any]]] = {
    float: repr,
    Decimal: repr,
    datetime.datetime: datetime.datetime.utcoffset,
    datetime.time: datetime.time.utcoffset,
}

Parts: TypeAlias = list[tuple[str, Any]]
"""What a value consists of, each with its step of a path."""


def check_arrival(passed: Any, arrived: Any, *, exact: bool) -> None:
    """Raise Misfit, with the place, if what arrives is not what was passed.

    With `exact` their classes must be the same; without, a scalar of a subclass may arrive as its base.
    """
    kind: Any = type(passed)
    if kind is not type(arrived):
        _check_classes(passed, type(arrived), exact)
    if kind in PLAIN:
        if passed != arrived:
            raise _other(passed)
    elif (parts := _parts_of(kind)) is not None:
        _check_parts(parts(passed), parts(arrived), exact)
    elif isinstance(passed, dict):
        _check_keys(passed, arrived, exact)
        _check_parts(_members(passed, passed), _members(passed, arrived), exact)
    elif not _are_equal(passed, arrived):
        raise _other(passed)
    elif isinstance(passed, (datetime.datetime, datetime.time)):
        check_clock(passed)


def _check_classes(passed: Any, other: type, exact: bool) -> None:
    kind = type(passed)
    # A float's field takes an int, as type checkers do, and 3 is read as 3.0.
    if (kind, other) == (int, float) or (other in BASES and issubclass(kind, other) and not exact):
        return
    if models.is_secret(passed):
        raise models.hidden(kind)
    raise Misfit(f"the {kind.__qualname__} would arrive as a {other.__qualname__}", hint=_class_hint(kind))


def _class_hint(kind: type) -> str | None:
    if hasattr(kind, "__dict__") and kind.__module__ != "builtins":
        return f"annotate it with {kind.__qualname__}, or with a union of classes that can be told apart"
    return None


def _check_parts(passed: Parts, arrived: Parts, exact: bool) -> None:
    if len(passed) != len(arrived):
        raise Misfit(f"it would arrive with {len(arrived)} parts, not {len(passed)}")
    step = ""
    try:
        for (step, part), (_, other) in zip(passed, arrived, strict=True):  # noqa: B007 - the step that fails
            if part is not other:
                check_arrival(part, other, exact=exact)
    except Misfit as misfit:
        raise misfit.inside(step) from None


def _check_keys(passed: dict[Any, Any], arrived: dict[Any, Any], exact: bool) -> None:
    kinds = {key: type(key) for key in arrived}
    for key in passed:
        kind = kinds.pop(key, None)
        if kind is not type(key) and (exact or kind not in BASES or not isinstance(key, kind)):
            raise Misfit("a key that is text in JSON, and would not come back as it is", f".{text_of(key)}")
    if kinds:
        raise Misfit("it would arrive with a key more", f".{text_of(next(iter(kinds)))}")


def _are_equal(passed: Any, arrived: Any) -> bool:
    aspect = _ASPECTS.get(type(passed))
    try:
        return bool(passed == arrived) and (aspect is None or aspect(passed) == aspect(arrived))
    except Exception:  # noqa: BLE001 - the boundary of user code
        return False


def _other(passed: Any) -> Misfit:
    if models.is_secret(passed):
        return models.hidden(type(passed))
    return Misfit("it would arrive as another value", hint=AS_IT_IS)


@lru_cache(maxsize=1024)
def _parts_of(kind: type) -> Callable[[Any], Parts] | None:
    """Return how an instance of the class is taken apart, or None for what is compared as a whole."""
    if models.is_model(kind):
        return models.parts_of(kind)
    if issubclass(kind, (list, tuple)):
        return lambda value: [(f"[{place}]", item) for place, item in enumerate(value)]
    if issubclass(kind, msgspec.Struct):
        names = list(kind.__struct_fields__)
    elif dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    else:
        return None
    steps = [(name, f".{name}") for name in names]
    return lambda value: [(step, getattr(value, name, None)) for name, step in steps]


def _members(keys: Iterable[Any], value: dict[Any, Any]) -> Parts:
    return [(f".{text_of(key)}", value[key]) for key in keys]
