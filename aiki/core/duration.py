"""Own what a duration is: a timedelta, or text such as "1h30m". Inside, durations are seconds or microseconds."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Final, TypeAlias

from aiki.core.errors import UsageError
from aiki.core.texts import shown

Duration: TypeAlias = timedelta | str

MICROSECONDS: Final = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
LONGEST: Final = 365_000 * MICROSECONDS["d"]
"""A thousand years: what is longer is a mistake, and would overflow the database's microseconds."""

_PART: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)(us|ms|s|m|h|d|w)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_FORMS: Final = '"250ms", "20s", "10m", "1h30m" or "30d"'
_SHOWN_CHARS: Final = 60


def to_seconds(value: Duration) -> float:
    """Return the duration in seconds. Raises UsageError if it is no duration; the message shows the forms."""
    return to_microseconds(value) / 1_000_000


def to_microseconds(value: Duration) -> int:
    """Return the duration in whole microseconds, 0 or more.

    Raises UsageError if it is no duration, is negative or is longer than a thousand years.
    """
    if isinstance(value, str):
        return _parse(value)
    if not isinstance(value, timedelta):
        # A bare number is refused: whether 20 means seconds or milliseconds is what readers get wrong.
        raise _refusal(value)
    microseconds = value // timedelta(microseconds=1)
    if not 0 <= microseconds <= LONGEST:
        raise UsageError(f"{value!r} is not a usable duration: it must be between 0 and 365000 days")
    return microseconds


@lru_cache(maxsize=1024)
def _parse(text: str) -> int:
    total = 0.0
    whole = 0
    position = 0
    while part := _PART.match(text, position):
        number, unit = part.groups()
        if "." in number:
            total += float(number) * MICROSECONDS[unit]
        else:
            whole += int(number) * MICROSECONDS[unit]
        position = part.end()
    microseconds = whole + round(total)
    if position == 0 or position != len(text):
        raise _refusal(text)
    if microseconds > LONGEST:
        raise UsageError(f"{_shown(text)} is not a usable duration: it must be between 0 and 365000 days")
    return microseconds


def _refusal(value: object) -> UsageError:
    number = _shown(value).strip("'")
    what = f"{_shown(value)} is not a duration: write {_FORMS}"
    if not _NUMBER.fullmatch(number):
        return UsageError(what, hint='"1h30m", or timedelta(hours=1.5)', command="1h30m")
    return UsageError(what, hint=f'"{number}s", or timedelta(seconds={number})', command=f"{number}s")


def _shown(value: object) -> str:
    text = shown(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
