"""Own how words and rows become a payload: `name=text`, `name:=json`, nested by dots, over a base. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiki import PayloadError, UsageError
from aiki.payload.typed import loads

Payload = dict[str, Any]

_KINDS: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}

_PAIR: Final = re.compile(r"(?P<path>[^=]*?)(?P<sign>:?=)(?P<value>.*)", re.DOTALL)


def parse_json(text: str, source: str) -> Any:
    """Return the JSON value in `text`. Raises PayloadError, which names `source`."""
    try:
        return loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise PayloadError(f"{source} is not JSON: {error}") from error
    except RecursionError as error:
        raise PayloadError(f"{source} is nested too deep") from error


def parse_object(text: str, source: str) -> Payload:
    """Return the JSON object in `text`. Raises PayloadError, which names `source`."""
    value = parse_json(text, source)
    if not isinstance(value, dict):
        raise PayloadError(
            f"{source} is {_kind(value)}, and expected a JSON object of the workflow's parameters",
            hint="""-p '{"name": "Ada"}'""",
        )
    return value


def with_pairs(base: Payload, pairs: Iterable[str]) -> Payload:
    """Return `base` with each `a.b=text` or `a.b:=json` set in it.

    Raises UsageError for what is no pair, PayloadError for a value that is no JSON.
    """
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None or not match["path"]:
            raise UsageError(f"{pair!r} is no pair, and expected name=text, name:=json or a.b=text")
        put(base, match["path"], match["value"] if match["sign"] == "=" else _json_of(match["value"], pair))
    return base


def parse_value(text: str, *, source: str) -> object:
    """Return the JSON value in `text`. Raises PayloadError, which names `source`."""
    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"{source!r}: {text!r} is not JSON ({error})") from error
    return value


@contextmanager
def explaining_pairs(*, has_pairs: bool) -> Iterator[None]:
    """Have a payload that does not fit say how pairs are typed, if some were."""
    try:
        yield
    except PayloadError as error:
        if error.hint is None and has_pairs and " must be " in error.message:
            error.hint = "name=text is text; name:=json is a number, a boolean, an array or an object"
        raise


def _json_of(text: str, pair: str) -> object:
    try:
        return parse_value(text, source=pair)
    except PayloadError as error:
        error.hint = "name=text for plain text"
        raise


def put(payload: Payload, path: str, value: object) -> None:
    """Set the member at the dotted `path`, making objects on the way. Raises UsageError if something else is there."""
    *parents, last = path.split(".")
    if not last or not all(parents):
        raise UsageError(f"{path!r} is no path, and expected names between the dots")
    inside = payload
    for name in parents:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise UsageError(f"{path!r}: {name!r} is {_kind(inside)} already, and cannot hold {last!r}")
    inside[last] = value


def key_in(payload: Payload, path: str) -> str:
    """Return the idempotency key that stands at the dotted `path`. Raises PayloadError if it is no text or number."""
    value: object = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise PayloadError(f"the key field {path!r} is {_kind(value)}, and expected text or a whole number")


def labels_of(pairs: Iterable[str]) -> dict[str, str]:
    """Return labels from `name=text` words. Raises UsageError."""
    labels: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError(f"{pair!r} is no label, and expected name=text")
        labels[name] = value
    return labels


def _kind(value: object) -> str:
    if value is None:
        return "missing"
    if value == "":
        return "empty"
    return next(name for kind, name in _KINDS.items() if isinstance(value, kind))
