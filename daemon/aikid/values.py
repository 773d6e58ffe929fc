"""Own what one setting may be: each function takes text or a TOML value, and raises ValueError with what it expects."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from aiki.core import keyfiles, retention, servers
from aiki.core.duration import to_seconds
from aiki.core.errors import AikiError
from aiki.core.retention import Periods
from aiki.core.variables import trimmed


def text(value: object) -> str:
    """Return text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    return value


def boolean(value: object) -> bool:
    """Return true or false from the words people use for them."""
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("true or false")


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return a function that takes whole numbers from `low` to `high`."""

    def parse(value: object) -> int:
        expected = f"a whole number from {low} to {high}"
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(expected)
        return value

    return parse


def seconds(low: float, high: float) -> Callable[[object], float]:
    """Return a function that takes durations as text and returns seconds, from `low` to `high`."""

    def parse(value: object) -> float:
        expected = f'a duration from {low:g} s to {high:g} s, such as "30s" or "2m"'
        try:
            found = to_seconds(value) if isinstance(value, str) else -1.0
        except AikiError as error:
            raise ValueError(expected) from error
        if not low <= found <= high:
            raise ValueError(expected)
        return found

    return parse


def periods(value: object) -> Periods:
    """Return how long ended runs are kept, by state or all alike."""
    try:
        return retention.read(trimmed(text(value)))
    except AikiError as error:
        raise ValueError(f'periods, such as "30d" or "completed=30d,failed=90d" ({error.message})') from error


def choice(*words: str) -> Callable[[object], str]:
    """Return a function that takes one of `words`, in any case."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value.lower()

    return parse


def folder(value: object) -> Path:
    """Return the path of a folder, which need not exist."""
    return Path(text(value))


def database_url(value: object) -> str:
    """Return the address of a Postgres: a URL or `name=value` pairs, as libpq takes them."""
    # Here, since the command line must work, and tell, where the driver is not installed.
    from aikid.store import address

    given = trimmed(text(value))
    address.read(given)
    return given


def nats_url(value: object) -> str:
    """Return the URL of a NATS server, or several with commas between them."""
    url = trimmed(text(value))
    servers.parse(url)
    return url


def key_file(name: str) -> Callable[[object], Path]:
    """Return a function that takes the name of a file of keys, which may come later."""
    return lambda value: keyfiles.key_file(name, text(value))
