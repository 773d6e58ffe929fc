"""Own form c1, the one spelling of a value, and its digest: equal inputs of a task must give equal keys for ever.

Form c1 is JSON in UTF-8 with members sorted by code point, no white space, exact integers, integral floats below
2**53 as integers (so 1 and 1.0 are one value), other floats in their shortest form, NaN and infinities refused, lone
surrogates refused. What is equal to its default is left out before it comes here (`aiki.payload`). The form must
never change: journals hold its digests. A new form gets a new prefix.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b
from json import JSONDecodeError, loads
from math import isfinite
from typing import Any, Final

import msgspec

from aiki.core.errors import PayloadError

NESTING: Final = 200
"""Levels of arrays and objects in a payload."""

_PATH_CHARS: Final = 200
_DIGEST: Final = blake2b(b"aiki.c1\0", digest_size=16)
_EXACT: Final = float(2**53)
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_AS_ARRAYS: Final = bytes.maketrans(b"{}", b"[]")
_RUN: Final = re.compile(rb"(\[*)(\]*)")
_WORTHWHILE: Final = 0.75
"""What another pass over the brackets may leave of them, at most; else one look at each run of them is cheaper."""

encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
"""Encode a value whose floats and keys are already those of form c1; its errors are told by `encoding_error`."""


class Misfit(Exception):
    """A value that cannot be stored, and where it stands. Inside Aiki only: callers get a PayloadError."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def inside(self, step: str) -> "Misfit":
        """Return the same with one step of the path put in front: `.name` or `[0]`."""
        self.path = step + self.path
        return self

    def to_error(self, owner: str) -> PayloadError:
        """Return what the user sees."""
        path = self.path if len(self.path) <= _PATH_CHARS else f"{self.path[:_PATH_CHARS]}…"
        return PayloadError(f"{owner}: {self.reason} at `${path}`")


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


def json_value(value: Any, *, c1: bool, levels: int = NESTING) -> Any:
    """Return `value` as JSON, checked; with `c1` its floats are those of form c1. Tuples become lists.

    Raises Misfit on what JSON cannot hold. A set, a date or an object is refused, not turned into something else: it
    would come back as another type. What is returned may share parts with `value`.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, float):
        return float_value(value, c1=c1)
    if isinstance(value, (dict, list, tuple)) and levels == 0:
        raise Misfit(f"more than {NESTING} levels of arrays and objects (or a value that contains itself)")
    if isinstance(value, dict):
        return _json_object(value, c1, levels - 1)
    if isinstance(value, (list, tuple)):
        return _json_array(value, c1, levels - 1)
    if isinstance(value, (str, int)):  # their subclasses, such as StrEnum
        return value
    raise Misfit(f"a {kind.__qualname__} is not JSON (annotate it with its type)")


def float_value(value: float, *, c1: bool) -> float | int:
    """Return the float as it is stored; with `c1` integral floats below 2**53 become ints. Raises Misfit on NaN."""
    if not isfinite(value):
        raise Misfit(f"{value} is not a number that JSON can hold")
    if c1 and -_EXACT < value < _EXACT and value.is_integer():
        return int(value)
    return value


def nests_too_deep(data: bytes) -> bool:
    """Tell whether the JSON in `data` has more than NESTING levels, without recursion and in linear time.

    What is not JSON may be told either way, but never "no" if a parser could go deeper before it finds out.
    """
    if len(data) <= NESTING or data.count(b"[") + data.count(b"{") <= NESTING:
        return False
    # Both kinds of brackets as one: where they do not match, the parser stops.
    brackets = _STRING.sub(b"", data).translate(_AS_ARRAYS, delete=_NOT_BRACKETS)
    left = NESTING
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
        return Misfit("text with a lone surrogate, which UTF-8 cannot hold,", _surrogate_path(value) or "")
    return Misfit(str(error))


def _json_object(value: dict[Any, Any], c1: bool, levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    name: Any = None
    try:
        for name, member in value.items():
            if not isinstance(name, str):
                raise Misfit(f"a key of type {type(name).__qualname__} is not JSON (annotate the dict with its types)")
            made[name] = json_value(member, c1=c1, levels=levels)
    except Misfit as misfit:
        raise misfit.inside(f".{name}") from None
    return made


def _json_array(value: "list[Any] | tuple[Any, ...]", c1: bool, levels: int) -> list[Any]:
    made: list[Any] = []
    try:
        for item in value:
            made.append(json_value(item, c1=c1, levels=levels))  # noqa: PERF401 - the length names the item that fails
    except Misfit as misfit:
        raise misfit.inside(f"[{len(made)}]") from None
    return made


def _surrogate_path(value: Any) -> str | None:
    if isinstance(value, str):
        return "" if _has_surrogate(value) else None
    steps: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        if any(isinstance(name, str) and _has_surrogate(name) for name in value):
            return ""
        steps = ((f".{name}", member) for name, member in value.items())
    elif isinstance(value, (list, tuple)):
        steps = ((f"[{index}]", item) for index, item in enumerate(value))
    for step, member in steps:
        path = _surrogate_path(member)
        if path is not None:
            return step + path
    return None


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
