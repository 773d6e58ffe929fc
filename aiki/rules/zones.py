"""Own what clocks on walls show: a zone by its name, and at which moments clocks there show a time. Pure.

Moments are microseconds since 1970; a *wall* time is a naive datetime.
"""

from __future__ import annotations

import zoneinfo
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tzdata import IANA_VERSION

from aiki.core.errors import UsageError
from aiki.core.moments import EPOCH, SECOND, to_datetime
from aiki.core.near import nearest

_VERSIONED: Final = ("tzdata.zi", "+VERSION")
"""Files that begin with the version of the data beside them: Debian's, macOS's."""
_CHARS: Final = 100
"""No zone has a longer name. One of hundreds of folders would have Python look through them until its stack ends."""
HOUR: Final = timedelta(hours=1)
_EPOCH: Final = EPOCH.replace(tzinfo=None)
_MICROSECOND: Final = timedelta(microseconds=1)
_END_OF_HOUR: Final = HOUR - _MICROSECOND


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone of that name. Raises UsageError if the data of this process has none."""
    if len(name) <= _CHARS:
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo(name)
    near = nearest(name, sorted(zoneinfo.available_timezones()))
    raise UsageError(
        f"timezone {name[:80]!r} is none that this machine knows (zone data {zones()})",
        hint=f'timezone="{near or "Europe/Berlin"}"',
    )


@cache
def zones() -> str:
    """Return the version of the zone data that this process goes by: what `zoneinfo` finds first."""
    files = (Path(folder, name) for folder in zoneinfo.TZPATH for name in _VERSIONED)
    return next(filter(None, map(_version, files)), str(IANA_VERSION))


def wall(there: ZoneInfo, moment: int) -> datetime:
    """Return what clocks there show at the moment."""
    return to_datetime(moment).astimezone(there).replace(tzinfo=None, fold=0)


def first(there: ZoneInfo, shown: datetime) -> int:
    """Return the first moment at which clocks there show that; if they skip it, the one at which they jump over it.

    It never falls while `shown` rises.
    """
    early, late = _offsets(there, shown)
    if late <= early:  # shown once, or twice
        return _at(shown, early)
    return _jump(there, _at(shown, late), _at(shown, early))


def each(there: ZoneInfo, shown: datetime) -> tuple[int, ...]:
    """Return the moments at which clocks there show that: one; none if they skip it, two if they go back behind it."""
    early, late = _offsets(there, shown)
    if late > early:
        return ()
    return (_at(shown, early),) if late == early else (_at(shown, early), _at(shown, late))


@lru_cache(maxsize=4096)
def steady(there: ZoneInfo, hour: datetime) -> int | None:
    """Return the moment at which that hour begins there; None if clocks are changed in it, or skip or repeat it."""
    early, late = _offsets(there, hour)
    if early != late or _offsets(there, hour + _END_OF_HOUR) != (early, late):
        return None
    return _at(hour, early)


def _version(file: Path) -> str | None:
    try:
        with file.open(encoding="utf-8") as lines:
            return next(lines).split()[-1]
    except (OSError, StopIteration, IndexError, UnicodeDecodeError):
        return None


def _offsets(there: ZoneInfo, shown: datetime) -> tuple[timedelta, timedelta]:
    """Return by what the wall time is ahead of UTC, by the rules before a change and by those behind it."""
    early, late = there.utcoffset(shown), there.utcoffset(shown.replace(fold=1))
    assert early is not None
    assert late is not None
    return early, late


def _at(shown: datetime, offset: timedelta) -> int:
    return (shown - _EPOCH - offset) // _MICROSECOND


def _jump(there: ZoneInfo, before: int, behind: int) -> int:
    """Return when clocks are changed: between a moment before that, and one that is not."""
    offset = to_datetime(before).astimezone(there).utcoffset()
    while behind - before > SECOND:
        middle = before + (behind - before) // (2 * SECOND) * SECOND
        if to_datetime(middle).astimezone(there).utcoffset() == offset:
            before = middle
        else:
            behind = middle
    return behind
