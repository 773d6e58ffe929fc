"""Own the question whether a lowered value equals its default, and so stays out of form c1."""

from collections.abc import Callable
from types import NoneType
from typing import Any, Final, TypeAlias

import msgspec.inspect as mi

from aiki.core.canonical import encode_sorted
from aiki.core.misfit import Misfit
from aiki.payload.scalars import Lower

IsDefault: TypeAlias = Callable[[Any], bool]

_SIMPLE: Final = (mi.StrType, mi.IntType, mi.BoolType, mi.NoneType, mi.FloatType, mi.UnionType)


def default_test(node: mi.Type, lower: Lower, default: Any) -> IsDefault:
    """Return the test whether a lowered value equals `default`."""
    if isinstance(node, _SIMPLE) and type(default) in (NoneType, str, int, bool, float):
        return _equals(lower(default))
    return same_form(lower, lambda: default)


def same_form(lower: Lower, make: Callable[[], Any]) -> IsDefault:
    """Return the test by encoded forms, which tell True from 1 and keep a datetime's offset.

    The default's form is made at first use, when the types that it consists of are complete.
    """
    forms: list[bytes | None] = []

    def is_default(value: Any) -> bool:
        if not forms:
            forms.append(_stable_form(lower, make))
        return forms[0] is not None and encode_sorted(value) == forms[0]

    return is_default


def _equals(default: Any) -> IsDefault:
    kind = type(default)
    return lambda value: type(value) is kind and value == default


def _stable_form(lower: Lower, make: Callable[[], Any]) -> bytes | None:
    """Return the form of what `make` makes, or None if it makes something new each time (uuid4, now)."""
    try:
        first, second = encode_sorted(lower(make())), encode_sorted(lower(make()))
    except (Misfit, ValueError, RecursionError):
        return None
    return first if first == second else None
