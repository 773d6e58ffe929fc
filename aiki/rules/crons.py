"""Own crons: which are some, and at which moments one fires in a zone. Pure.

A cron whose minute and hour name times of the day goes by the clock on the wall, as Debian's does: a time that the
clock skips fires once right behind the jump, one that it shows twice fires at the first. One with a `*` in either goes
by real time: it fires at each moment at which the clock shows what it names. Cronsim reads crons, and says which days
they mean; the walk through a day is ours, since its own loses slots where clocks go back by half an hour.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from aiki.core.errors import UsageError
from aiki.core.moments import SECOND
from aiki.rules.zones import HOUR, each, first, steady, wall

MINUTE: Final = 60 * SECOND
_GAP_YEARS: Final = 50
"""A cron that has no day for so long has none: the calendar's longest gap is 40 years, for a 29th of February."""
_CYCLE_YEARS: Final = 28
"""After so many years weekdays fall on the same dates, within 1901 to 2099."""
_MICROSECOND: Final = timedelta(microseconds=1)
_BACK: Final = 8 * HOUR
"""By so much no zone's clocks have gone back at once since 1970: Vostok's by 7 hours, in 1994."""
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = (
    ("minute", "0 to 59, such as 30 or */15"),
    ("hour", "0 to 23, such as 2 or 8-18"),
    ("day of the month", "1 to 31, L for the last, LW for the last weekday"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT; MON#2 for the second Monday, 5L for the last Friday"),
)
_SOME_DAY: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron that was read."""

    days: CronSim
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    is_fixed: bool
    """Whether it goes by the clock on the wall."""


def check(text: str) -> None:
    """Raise UsageError if the text is no cron, or one that never fires."""
    parts = _WORDS.get(text.strip().lower(), text).split()
    if text.strip().startswith("@") and len(parts) == 1:
        raise UsageError(f"cron {text[:80]!r} is no word that a schedule knows", hint=f"one of {', '.join(_WORDS)}")
    if len(parts) != len(_FIELDS):
        raise UsageError(
            f"cron {text[:80]!r} has {len(parts)} fields, and needs five: minute, hour, day, month, day of the week",
            hint='cron="0 2 * * *"',
        )
    for place, (part, (name, values)) in enumerate(zip(parts, _FIELDS, strict=True)):
        if not _reads(["*"] * place + [part] + ["*"] * (len(_FIELDS) - place - 1)):
            raise UsageError(f"cron {text[:80]!r}: {part[:40]!r} is no {name}", hint=f"{name}: {values}")
    if not _reads(parts) or next(_days(read(text), _SOME_DAY.date(), _CYCLE_YEARS), None) is None:
        raise UsageError(f"cron {text[:80]!r} never fires: no year has such a day", hint='cron="0 2 * * *"')


@lru_cache(maxsize=4096)
def read(text: str) -> Cron:
    """Return a cron that was checked."""
    parts = _WORDS.get(text.strip().lower(), text).split()
    days = CronSim(" ".join(parts), _SOME_DAY)
    is_fixed = not parts[0].startswith("*") and not parts[1].startswith("*")
    return Cron(days, tuple(sorted(days.hours)), tuple(sorted(days.minutes)), is_fixed)


def explained(text: str) -> str:
    """Return in words when a cron fires."""
    return read(text).days.explain()


def moments(cron: Cron, there: ZoneInfo, after: int, end: int) -> Iterator[int]:
    """Yield when it fires behind `after`, ascending, at least up to `end`."""
    for some in rows(cron, there, after, end):
        yield from some


def rows(cron: Cron, there: ZoneInfo, after: int, end: int) -> Iterator[list[int]]:
    """Yield these moments in rows, none of which is empty: mostly an hour's, so that years of them are soon counted."""
    held: list[int] = []
    for hour in _hours(cron, _begin(there, after)):
        begins = steady(there, hour)
        is_steady = begins is not None
        if begins is None:
            begins = first(there, hour)
        elif begins + 60 * MINUTE <= after:
            continue
        # An hour that comes later on the wall may have moments before those of this one, but none before it begins.
        place = bisect_left(held, begins)
        if some := held[bisect_right(held, after) : place]:
            yield some
        if begins >= end:
            return
        left, held = held[place:], _moments(cron, there, hour)
        if left or not is_steady:
            held = sorted({*left, *held})
    if some := held[bisect_right(held, after) :]:
        yield some


def _begin(there: ZoneInfo, after: int) -> datetime:
    """Return a time that clocks there have shown before they come to show anything behind `after`."""
    begin = wall(there, after)
    is_steady = wall(there, after + _BACK // _MICROSECOND) - begin == _BACK
    return begin if is_steady else begin - _BACK


def _moments(cron: Cron, there: ZoneInfo, hour: datetime) -> list[int]:
    begins = steady(there, hour)
    if begins is not None:
        return [begins + minute * MINUTE for minute in cron.minutes]
    walls = [hour + timedelta(minutes=minute) for minute in cron.minutes]
    if cron.is_fixed:
        return [first(there, shown) for shown in walls]
    return [moment for shown in walls for moment in each(there, shown)]


def _hours(cron: Cron, start: datetime) -> Iterator[datetime]:
    """Yield the hours that it names, as the clock on the wall shows them, from that of `start` on."""
    start = start.replace(minute=0, second=0, microsecond=0)
    for day in _days(cron, start.date()):
        for hour in cron.hours:
            moment = datetime(day.year, day.month, day.day, hour)  # noqa: DTZ001 - a wall time
            if moment >= start:
                yield moment


def _days(cron: Cron, day: date, years: int = _GAP_YEARS) -> Iterator[date]:
    """Yield the days that it names, from `day` on, until it has had none for so many years."""
    last = day.year
    with suppress(OverflowError):  # the year 10,000
        while day.year - last <= years:
            if day.month not in cron.days.months:
                day = day.replace(day=28) + timedelta(days=4)
                day = day.replace(day=1)
                continue
            if cron.days.match_day(day):
                last = day.year
                yield day
            day += timedelta(days=1)


def _reads(parts: list[str]) -> bool:
    try:
        CronSim(" ".join(parts), _SOME_DAY)
    except (CronSimError, ValueError, OverflowError):
        return False
    return True
