"""Own form c1, the one spelling of a value, and its digest: equal inputs of a task must give equal keys for ever.

Form c1 is JSON in UTF-8 with members sorted by code point, no white space, exact integers, integral floats below
2**53 as integers (so 1 and 1.0 are one value), other floats in their shortest form, NaN and infinities refused, lone
surrogates refused. What is equal to its default is left out before it comes here (`aiki.payload`). The form must
never change: journals hold its digests. A new form gets a new prefix.
"""

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from json import JSONDecodeError, loads
from math import isfinite
from typing import Any, Final

import msgspec

from aiki.core.bases import plain
from aiki.core.errors import PayloadError
from aiki.core.misfit import Misfit
from aiki.core.texts import text_of

NESTING: Final = 200
"""Levels of arrays and objects in a payload."""

_DIGEST: Final = blake2b(b"aiki.c1\0", digest_size=16)
_EXACT: Final = float(2**53)
_JSON: Final = (dict, list, float, str, int)
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_AS_ARRAYS: Final = bytes.maketrans(b"{}", b"[]")
_RUN: Final = re.compile(rb"(\[*)(\]*)")
_WORTHWHILE: Final = 0.75
"""What another pass over the brackets may leave of them, at most; else one look at each run of them is cheaper."""

encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
"""Encode a value whose floats and keys are already those of form c1; its errors are told by `encoding_error`."""


def canonical(value: Any, *, owner: str = "canonical form") -> bytes:
    """Return form c1 of a value made of dict, list, str, int, float, bool and None.

    Raises PayloadError on anything else, on NaN and infinities, lone surrogates, and more than NESTING levels; it
    speaks of `owner`.
    """
    try:
        return encode_sorted(json_value(value, c1=True))
    except Misfit as misfit:
        raise misfit.to_error(owner) from None
    except (UnicodeEncodeError, RecursionError, ValueError) as error:
        raise encoding_error(error, value).to_error(owner) from None


def digest(form: bytes) -> str:
    """Return the hex blake2b-128 of `aiki.c1`, a zero byte and `form`."""
    state = _DIGEST.copy()
    state.update(form)
    return state.hexdigest()


def parse(text: bytes | str, *, limit: int) -> Any:
    """Return the JSON value in `text`, which may come from anywhere.

    Raises PayloadError if it has more than `limit` bytes or NESTING levels, names a member twice, holds NaN or
    a lone surrogate, or is not JSON.
    """
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(data) > limit:
        raise PayloadError(f"the payload has {len(data):,} bytes, more than {limit:,}")
    if nests_too_deep(data):
        raise PayloadError(f"the payload has more than {NESTING} levels of arrays and objects")
    try:
        value = loads(data, object_pairs_hook=_members, parse_constant=_not_finite, parse_float=_finite)
        encode_sorted(value)
    except Misfit as misfit:
        raise PayloadError(f"the payload is refused: {misfit.reason}") from None
    except JSONDecodeError as error:
        raise PayloadError(f"the payload is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise PayloadError("the payload is not JSON: it is not valid UTF-8") from None
    except (UnicodeEncodeError, RecursionError, ValueError) as error:
        raise encoding_error(error, None).to_error("the payload") from None
    return value


def json_value(value: Any, *, c1: bool, exact: bool = False, levels: int = NESTING) -> Any:
    """Return `value` as JSON, checked; with `c1` its floats are those of form c1. What is returned may share parts.

    Raises Misfit on what JSON cannot hold. A tuple, a set, a date or an object is refused, not turned into something
    else: it would come back as another type. What is of a subclass becomes plain, or with `exact` is refused.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return float_value(value, c1=c1)
    if kind is not dict and kind is not list:
        base = next((base for base in _JSON if isinstance(value, base)), None)
        if base is None:
            raise _no_json(value)
        return json_value(plain(base, value, exact=exact), c1=c1, exact=exact, levels=levels)
    if levels == 0:
        raise Misfit(f"more than {NESTING} levels of arrays and objects (or a value that contains itself)")
    return (_json_object if kind is dict else _json_array)(value, c1, exact, levels - 1)


def float_value(value: float, *, c1: bool) -> float | int:
    """Return the float as it is stored; with `c1` integral floats below 2**53 become ints. Raises Misfit on NaN."""
    if not isfinite(value):
        raise Misfit(f"{value} is not a number that JSON can hold")
    if c1 and -_EXACT < value < _EXACT and value.is_integer():
        return int(value)
    return value


def nests_too_deep(data: bytes, *, levels: int = NESTING) -> bool:
    """Tell whether the JSON in `data` has more than so many levels, without recursion and in linear time.

    What is not JSON may be told either way, but never "no" if a parser could go deeper before it finds out.
    """
    if len(data) <= levels or data.count(b"[") + data.count(b"{") <= levels:
        return False
    # Both kinds of brackets as one: where they do not match, the parser stops.
    brackets = _STRING.sub(b"", data).translate(_AS_ARRAYS, delete=_NOT_BRACKETS)
    left = levels
    while left and not brackets.startswith(b"[" * (left + 1)):
        fewer = brackets.replace(b"[]", b"")  # takes the innermost level away, and no other
        if len(fewer) > _WORTHWHILE * len(brackets):
            break  # few pairs: what is left is long runs of the same bracket
        brackets = fewer
        left -= 1
    depth = 0
    for run in _RUN.finditer(brackets):
        opened, closed = run.span(1), run.span(2)
        depth += opened[1] - opened[0]
        if depth > left:
            return True
        depth -= closed[1] - closed[0]
    return False


def encoding_error(error: Exception, value: Any) -> Misfit:
    """Return where and why `value` could not be encoded, as an encoder's exception told."""
    if isinstance(error, RecursionError):
        return Misfit(f"more than {NESTING} levels of arrays and objects (or a value that contains itself)")
    if isinstance(error, UnicodeEncodeError):
        reason = "text with a lone surrogate, which UTF-8 cannot hold,"
        return Misfit(reason, _path_to(value, lambda part: isinstance(part, str) and _has_surrogate(part)) or "")
    return Misfit(str(error), _path_to(value, lambda part: type(part) is int and _has_too_many_digits(part)) or "")


def _no_json(value: Any) -> Misfit:
    if isinstance(value, tuple):
        return Misfit("a tuple would come back as a list", hint="pass list(value), or annotate it: tuple[int, ...]")
    return Misfit(f"a {type(value).__qualname__} is not JSON (annotate it with its type)")


def _json_object(value: dict[Any, Any], c1: bool, exact: bool, levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    name: Any = None
    try:
        for name, member in value.items():
            if not isinstance(name, str):
                raise Misfit(f"a key of type {type(name).__qualname__} is not JSON (annotate the dict with its types)")
            key = name if type(name) is str else plain(str, name, exact=exact)
            made[key] = json_value(member, c1=c1, exact=exact, levels=levels)
    except Misfit as misfit:
        raise misfit.inside(f".{text_of(name)}") from None
    if len(made) != len(value):
        raise Misfit("a dict with two keys that are the same text in JSON")
    return made


def _json_array(value: list[Any], c1: bool, exact: bool, levels: int) -> list[Any]:
    made: list[Any] = []
    try:
        for item in value:
            made.append(json_value(item, c1=c1, exact=exact, levels=levels))  # noqa: PERF401 - the length names the item that fails
    except Misfit as misfit:
        raise misfit.inside(f"[{len(made)}]") from None
    return made


def _path_to(value: Any, is_culprit: Callable[[Any], bool]) -> str | None:
    if is_culprit(value):
        return ""
    steps: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        if any(map(is_culprit, value)):
            return ""
        steps = ((f".{name}", member) for name, member in value.items())
    elif isinstance(value, (list, tuple)):
        steps = ((f"[{index}]", item) for index, item in enumerate(value))
    for step, member in steps:
        path = _path_to(member, is_culprit)
        if path is not None:
            return step + path
    return None


def _has_too_many_digits(number: int) -> bool:
    try:
        str(number)
    except ValueError:
        return True
    return False


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Misfit(f"it names the member {twice!r} twice")
    return made


def _not_finite(text: str) -> float:
    raise Misfit(f"{text} is not a number that JSON can hold")


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _not_finite(text)
