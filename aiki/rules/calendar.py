"""Own when a schedule fires: its slots, and by how much later than these its runs are enqueued. Pure.

A cron whose minute and hour name times of the day goes by the clock on the wall, as Debian's does: a time that the
clock skips fires once right behind the jump, one that it shows twice fires at the first. One with a `*` in either goes
by real time: it fires at each moment at which the clock shows what it names. Cronsim reads crons, and says which days
they mean; the walk through a day is ours, since its own loses slots where clocks go back by half an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from aiki.core.errors import UsageError
from aiki.core.moments import EPOCH, SECOND, to_wire
from aiki.rules.zones import HOUR, each, first, steady, wall, zone, zones
from aiki.wire.messages.schedules import Spec

__all__ = [
    "Span",
    "check_spec",
    "fires_at",
    "firings",
    "moved",
    "shown",
    "slots",
    "spanned",
    "told",
    "upcoming",
    "zones",
]

MINUTE: Final = 60 * SECOND
END: Final = to_wire(datetime(9999, 12, 31, tzinfo=EPOCH.tzinfo), what="the end")
"""No slot lies at or behind it, nor before 1970."""
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
class Span:
    """Slots in a row: the first, the last, and how many."""

    first: int
    last: int
    count: int


def check_spec(spec: Spec) -> None:
    """Raise UsageError if the spec is none, or one that never fires."""
    if [spec.cron, spec.every, spec.at].count(None) != 2:
        raise UsageError("a schedule fires by one of cron, every and at", hint='cron="0 2 * * *"')
    there = zone(spec.timezone)
    _check_lengths(spec)
    _check_times(spec)
    if spec.cron is not None:
        _check_cron(spec.cron)
    if next(slots(spec, -1), None) is None:
        raise UsageError(
            f"the schedule never fires: no slot of it lies between its start and its end ({there.key})",
            hint="leave start= and end= out, or let more time lie between them",
        )


def slots(spec: Spec, after: int) -> Iterator[int]:
    """Yield the slots behind `after`, ascending."""
    after = min(max(after, (spec.start or 0) - 1), END)
    end = END if spec.end is None else min(spec.end, END)
    if spec.cron is not None:
        found = _cron_slots(_cron(spec.cron), zone(spec.timezone), after, end)
    elif spec.every is not None:
        found = iter(range(_interval_behind(spec, after), end, spec.every))
    else:
        found = iter([] if spec.at is None or spec.at <= after else [spec.at])
    return takewhile(lambda slot: slot < end, found)


def spanned(spec: Spec, after: int, until: int) -> Span | None:
    """Return the slots behind `after`, up to and with `until`; None if there is none. An interval is not walked."""
    if spec.every is not None:
        row = _row(spec, after, until)
        return Span(row[0], row[-1], len(row)) if row else None
    head = last = None
    count = 0
    for slot in takewhile(lambda slot: slot <= until, slots(spec, after)):
        head, last, count = slot if head is None else head, slot, count + 1
    return None if head is None or last is None else Span(head, last, count)


def firings(spec: Spec, schedule_id: str, after: int) -> Iterator[tuple[int, int]]:
    """Yield the slots behind `after`, and when each is fired: later by less than its jitter, and before the next slot.

    By how much follows from schedule and slot, evenly spread, and is the same whoever asks.
    """
    found = slots(spec, after)
    slot = next(found, None)
    while slot is not None:
        following = next(found, None) if spec.jitter else None
        yield slot, slot + _lag(spec, schedule_id, slot, following)
        slot = following if spec.jitter else next(found, None)


def fires_at(spec: Spec, schedule_id: str, slot: int) -> int:
    """Return when a slot is fired."""
    return next(fires for _, fires in firings(spec, schedule_id, slot - 1)) if spec.jitter else slot


def upcoming(spec: Spec, schedule_id: str, after: int, count: int) -> list[tuple[int, int]]:
    """Return so many slots behind `after`, and when each fires."""
    return list(islice(firings(spec, schedule_id, after), count))


def told(cron: str) -> str:
    """Return in words when a cron fires. Raises UsageError if it is none."""
    _check_cron(cron)
    return _cron(cron).days.explain()


def shown(spec: Spec, moment: int) -> str:
    """Return the zone data of this process, and what it says that clocks of the spec's zone show at the moment."""
    return f"{zones()} {wall(zone(spec.timezone), moment).isoformat()}"


def moved(spec: Spec, decided: int, by: str) -> int:
    """Return up to where is decided, by the zone data of now, if `by` was what clocks showed at `decided` then.

    A time of the day that has fired by the old data is not fired again by the new.
    """
    data, _, showed = by.partition(" ")
    if spec.cron is None or not _cron(spec.cron).is_fixed or data == zones() or not showed:
        return decided
    return max(decided, first(zone(spec.timezone), datetime.fromisoformat(showed)))


def _lag(spec: Spec, schedule_id: str, slot: int, following: int | None) -> int:
    if not spec.jitter:
        return 0
    room = spec.jitter if following is None else min(spec.jitter, following - slot)
    state = blake2b(f"{schedule_id}/{slot}".encode(), digest_size=8, person=b"aiki.jitter")
    return int.from_bytes(state.digest(), "big") % room


# -- intervals


def _interval_behind(spec: Spec, after: int) -> int:
    assert spec.every is not None
    return spec.anchor + ((after - spec.anchor) // spec.every + 1) * spec.every


def _row(spec: Spec, after: int, until: int) -> range:
    assert spec.every is not None
    end = END if spec.end is None else min(spec.end, END)
    return range(_interval_behind(spec, max(after, (spec.start or 0) - 1)), min(until + 1, end), spec.every)


# -- crons


@dataclass(frozen=True, slots=True)
class _Cron:
    days: CronSim
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    is_fixed: bool
    """Whether it goes by the clock on the wall."""


@lru_cache(maxsize=4096)
def _cron(text: str) -> _Cron:
    parts = _WORDS.get(text.strip().lower(), text).split()
    read = CronSim(" ".join(parts), _SOME_DAY)
    is_fixed = not parts[0].startswith("*") and not parts[1].startswith("*")
    return _Cron(read, tuple(sorted(read.hours)), tuple(sorted(read.minutes)), is_fixed)


def _cron_slots(cron: _Cron, there: ZoneInfo, after: int, end: int) -> Iterator[int]:
    held: list[int] = []
    for hour in _hours(cron, _begin(there, after)):
        begins = steady(there, hour)
        if begins is None:
            begins = first(there, hour)
        elif begins + 60 * MINUTE <= after:
            continue
        # An hour that comes later on the wall may have moments before those of this one, but none before it begins.
        yield from (slot for slot in held if after < slot < begins)
        if begins >= end:
            return
        held = sorted({slot for slot in held if slot >= begins} | set(_moments(cron, there, hour)))
    yield from (slot for slot in held if after < slot)


def _begin(there: ZoneInfo, after: int) -> datetime:
    """Return a time that clocks there have shown before they come to show anything behind `after`."""
    begin = wall(there, after)
    is_steady = wall(there, after + _BACK // _MICROSECOND) - begin == _BACK
    return begin if is_steady else begin - _BACK


def _moments(cron: _Cron, there: ZoneInfo, hour: datetime) -> list[int]:
    begins = steady(there, hour)
    if begins is not None:
        return [begins + minute * MINUTE for minute in cron.minutes]
    walls = [hour + timedelta(minutes=minute) for minute in cron.minutes]
    if cron.is_fixed:
        return [first(there, shown) for shown in walls]
    return [moment for shown in walls for moment in each(there, shown)]


def _hours(cron: _Cron, start: datetime) -> Iterator[datetime]:
    """Yield the hours that it names, as the clock on the wall shows them, from that of `start` on."""
    start = start.replace(minute=0, second=0, microsecond=0)
    for day in _days(cron, start.date()):
        for hour in cron.hours:
            moment = datetime(day.year, day.month, day.day, hour)  # noqa: DTZ001 - a wall time
            if moment >= start:
                yield moment


def _days(cron: _Cron, day: date, years: int = _GAP_YEARS) -> Iterator[date]:
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


# -- checks


def _check_cron(text: str) -> None:
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
    if not _reads(parts) or next(_days(_cron(text), _SOME_DAY.date(), _CYCLE_YEARS), None) is None:
        raise UsageError(f"cron {text[:80]!r} never fires: no year has such a day", hint='cron="0 2 * * *"')


def _reads(parts: list[str]) -> bool:
    try:
        CronSim(" ".join(parts), _SOME_DAY)
    except (CronSimError, ValueError, OverflowError):
        return False
    return True


def _check_lengths(spec: Spec) -> None:
    if spec.every is not None and spec.every < SECOND:
        raise UsageError("every is at least a second", hint='every="1s"')
    if not (0 <= spec.jitter < END and 0 <= spec.window < END):
        raise UsageError("jitter and window are lengths of time, not negative or endless", hint='jitter="5m"')


def _check_times(spec: Spec) -> None:
    named = {"at": spec.at, "anchor": spec.anchor, "start": spec.start, "end": spec.end}
    for name, moment in named.items():
        if moment is not None and not 0 <= moment < END:
            raise UsageError(f"{name} of a schedule lies between the years 1970 and 9999")
    if spec.start is not None and spec.end is not None and spec.end <= spec.start:
        raise UsageError("the end of a schedule lies behind its start", hint="leave end= out")
