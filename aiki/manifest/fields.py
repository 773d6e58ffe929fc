"""Own the checks of single values: each takes a node and returns a value, or refuses it with its place.

A message says what stands there and what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from aiki.core.duration import to_microseconds
from aiki.core.errors import UsageError
from aiki.core.near import nearest
from aiki.manifest.document import Items, Mapping, Node, Scalar
from aiki.manifest.variables import Template
from aiki.payload.typed import Number
from aiki.wire.subjects import is_token, is_version

T = TypeVar("T")
Check = Callable[[Node], T]

_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {"null": None, "~": None, "": None, "true": True, "false": False}


def text(node: Node) -> str:
    """Return text, quoted or not: `NO`, `on` and `1.10` are themselves. `${...}` is refused."""
    scalar = _scalar(node, "text")
    if "${" in scalar.text:
        scalar.place.refuse(f"{scalar}, and expected text without variables (they are expanded only under `client:`)")
    return scalar.text


def quoted(node: Node) -> str:
    """Return text that must stand in quotes, because other YAML readers would take it for a number."""
    value = text(node)
    if isinstance(node, Scalar) and not node.quoted:
        node.place.refuse(f'{node}, and expected it in quotes: "{value}"')
    return value


def template(node: Node) -> Template:
    """Return text that may hold variables."""
    return Template.of(_scalar(node, "text"))


def token(node: Node) -> str:
    """Return a name of a workflow, namespace or project."""
    value = text(node)
    if not is_token(value):
        node.place.refuse(f"{node}, and expected a name of 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def version(node: Node) -> str:
    """Return a workflow version, in quotes."""
    value = quoted(node)
    if not is_version(value):
        node.place.refuse(f"{node}, and expected a version of 1 to 32 of A-Z a-z 0-9 _ . + -")
    return value


def duration(node: Node) -> float:
    """Return seconds."""
    return microseconds(node) / 1_000_000


def microseconds(node: Node) -> int:
    """Return a duration in microseconds."""
    try:
        return to_microseconds(text(node))
    except (UsageError, ValueError):
        node.place.refuse(f'{node}, and expected a duration such as "30s", "1h30m" or "250ms"')


def integer(*, least: int, most: int | None = None) -> Check[int]:
    """Return a check for a whole number, not in quotes, within the bounds."""
    bounds = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def check(node: Node) -> int:
        scalar = _scalar(node, bounds)
        if scalar.quoted or not _INTEGER.fullmatch(scalar.text) or len(scalar.text) > 18:
            scalar.place.refuse(f"{scalar}, and expected {bounds}")
        value = int(scalar.text)
        if value < least or (most is not None and value > most):
            scalar.place.refuse(f"{scalar}, and expected {bounds}")
        return value

    return check


def boolean(node: Node) -> bool:
    """Return true or false, not in quotes: `yes`, `on` and `1` are none."""
    scalar = _scalar(node, "true or false")
    if scalar.quoted or scalar.text not in {"true", "false"}:
        scalar.place.refuse(f"{scalar}, and expected true or false")
    return scalar.text == "true"


def choice(*allowed: str) -> Check[str]:
    """Return a check for one of a few words."""

    def check(node: Node) -> str:
        value = text(node)
        if value not in allowed:
            node.place.refuse(f"{node}, and expected {_listed(allowed)}")
        return value

    return check


def items(check: Check[T], *, of: str) -> Check[list[T]]:
    """Return a check for a list whose members all pass `check`; `of` names them in errors."""

    def check_all(node: Node) -> list[T]:
        if not isinstance(node, Items):
            node.place.refuse(f"{node}, and expected a list of {of}")
        return [check(item) for item in node.items]

    return check_all


def table(name: Check[str], check: Check[T], *, of: str) -> Check[dict[str, T]]:
    """Return a check for a map with free names, each of which passes `name` and whose values all pass `check`."""

    def check_all(node: Node) -> dict[str, T]:
        return {name(key): check(value) for key, value in _mapping(node, of).entries}

    return check_all


class Fields:
    """A map with known keys, read key by key: each read returns a checked value of its own type."""

    def __init__(self, node: Node, *known: str, what: str) -> None:
        self.place = node.place
        self.what = what
        self._entries = {key.text: (key, value) for key, value in _mapping(node, what).entries}
        for key, _ in self._entries.values():
            if key.text not in known:
                meant = nearest(key.text, known)
                known_words = f", and expected {_listed(known)}" if meant is None else f": did you mean `{meant}`?"
                key.place.refuse(f"unknown key {key} in {what}{known_words}")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def optional(self, name: str, check: Check[T]) -> T | None:
        """Return the checked value of `name`, or None if the key is absent."""
        return check(self._entries[name][1]) if name in self._entries else None

    def required(self, name: str, check: Check[T]) -> T:
        """Return the checked value of `name`. Raises ConfigError if the key is absent."""
        if name not in self._entries:
            self.place.refuse(f"{self.what} has no `{name}`, and expected one")
        return check(self._entries[name][1])


def json(node: Node) -> object:
    """Return JSON: plain `null`, `true`, `false` and numbers have YAML 1.2's meaning, all else is text.

    A fraction keeps its digits.
    """
    if isinstance(node, Items):
        return [json(item) for item in node.items]
    if isinstance(node, Mapping):
        return {key.text: json(value) for key, value in node.entries}
    if node.quoted:
        return node.text
    if node.text in _WORDS:
        return _WORDS[node.text]
    if _INTEGER.fullmatch(node.text):
        return int(node.text) if len(node.text) <= 4000 else node.text
    return Number(node.text) if _NUMBER.fullmatch(node.text) else node.text


def _scalar(node: Node, expected: str) -> Scalar:
    if not isinstance(node, Scalar) or (not node.quoted and node.text in {"", "~", "null"}):
        node.place.refuse(f"{node}, and expected {expected}")
    return node


def _mapping(node: Node, what: str) -> Mapping:
    if isinstance(node, Scalar) and not node.quoted and node.text == "":
        return Mapping(node.place, ())  # `workflows:` with nothing below it
    if not isinstance(node, Mapping):
        node.place.refuse(f"{node}, and expected {what} as a map")
    return node


def _listed(words: Collection[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last
