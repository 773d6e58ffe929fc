"""When crons fire, found by walking over what a zone's clocks show minute by minute; knows no library for that.

All times are whole minutes: of UTC since 1970, or of what clocks show since they would have shown 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAY = 1440
HOUR = timedelta(hours=1)
LOWEST = (0, 0, 1, 1, 0)
HIGHEST = (59, 23, 31, 12, 7)


@dataclass(frozen=True)
class Clock:
    """What clocks show at each minute from `start` on."""

    start: int
    walls: list[int]

    @property
    def end(self) -> int:
        return self.start + len(self.walls)


def clock(there: ZoneInfo, start: datetime, days: int) -> Clock:
    first = int(start.timestamp()) // 60
    walls: list[int] = []
    for hour in range(days * 24):
        begin = start + timedelta(hours=hour)
        offset = _offset(there, begin)
        if offset == _offset(there, begin + HOUR):  # nowhere are clocks changed twice in an hour
            walls.extend(range(first + hour * 60 + offset, first + hour * 60 + 60 + offset))
        else:
            walls.extend(first + hour * 60 + n + _offset(there, begin + timedelta(minutes=n)) for n in range(60))
    return Clock(first, walls)


def changes(there: ZoneInfo, year: int, years: int) -> list[datetime]:
    """Return the days in which clocks are changed."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(years * 365)]
    return [day for day in days if _offset(there, day) != _offset(there, day + timedelta(days=1))]


def walk(cron: str, clock: Clock) -> list[int]:
    """Return the minutes at which it fires: each at which clocks show what it names; or, if minute and hour both name
    times of the day, those at which they come to show, or jump over, what they have not shown before."""
    minutes, hours, *_ = cron.split()
    fires = _Matcher(cron)
    if minutes.startswith("*") or hours.startswith("*"):
        return [clock.start + minute for minute, wall in enumerate(clock.walls) if fires.at(wall)]
    found: list[int] = []
    highest = clock.walls[0] - 1
    for minute, wall in enumerate(clock.walls):
        is_next = wall == highest + 1  # as mostly
        if fires.at(wall) if is_next else any(map(fires.at, range(highest + 1, wall + 1))):
            found.append(clock.start + minute)
        highest = max(highest, wall)
    return found


class _Matcher:
    """The five fields; days are those of Debian's cron: either of the two will do, unless one begins with a star."""

    def __init__(self, cron: str) -> None:
        fields = cron.split()
        minutes, hours, self.dates, self.months, self.weekdays = (
            _values(field, low, high) for field, low, high in zip(fields, LOWEST, HIGHEST, strict=True)
        )
        self.times = {hour * 60 + minute for hour in hours for minute in minutes}
        self.is_both = fields[2].startswith("*") or fields[4].startswith("*")
        self.days: dict[int, bool] = {}

    def at(self, wall: int) -> bool:
        return wall % DAY in self.times and self._is_day(wall // DAY)

    def _is_day(self, number: int) -> bool:
        if number not in self.days:
            day = date(1970, 1, 1) + timedelta(days=number)
            found = day.day in self.dates, bool({day.isoweekday() % 7, day.isoweekday()} & self.weekdays)
            self.days[number] = day.month in self.months and (all(found) if self.is_both else any(found))
        return self.days[number]


def _values(field: str, low: int, high: int) -> set[int]:
    """Return what a field of numbers means, such as 0,30 or 8-18/2 or */15."""
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = (str(low) + "-" + str(high) if span == "*" else span).partition("-")
        until = int(last) if last else high if step else int(first)
        found.update(range(int(first), until + 1, int(step or 1)))
    return found


def _offset(there: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(there).utcoffset()
    assert offset is not None
    return offset // timedelta(minutes=1)
