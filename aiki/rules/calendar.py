"""Own when a schedule fires: its slots, and by how much later than these its runs are enqueued. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Final

from aiki.core.errors import UsageError
from aiki.core.moments import EPOCH, SECOND, to_wire
from aiki.rules import crons
from aiki.rules.zones import first, wall, zone, zones
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

END: Final = to_wire(datetime(9999, 12, 31, tzinfo=EPOCH.tzinfo), what="the end")
"""No slot lies at or behind it, nor before 1970."""


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
        crons.check(spec.cron)
    if next(slots(spec, -1), None) is None:
        raise UsageError(
            f"the schedule never fires: no slot of it lies between its start and its end ({there.key})",
            hint="leave start= and end= out, or let more time lie between them",
        )


def slots(spec: Spec, after: int) -> Iterator[int]:
    """Yield the slots behind `after`, ascending."""
    after, end = _within(spec, after)
    if spec.cron is not None:
        found = crons.moments(crons.read(spec.cron), zone(spec.timezone), after, end)
    elif spec.every is not None:
        found = iter(range(_interval_behind(spec, after), end, spec.every))
    else:
        found = iter([] if spec.at is None or spec.at <= after else [spec.at])
    return takewhile(lambda slot: slot < end, found)


def spanned(spec: Spec, after: int, until: int) -> Span | None:
    """Return the slots behind `after`, up to and with `until`; None if there is none.

    An interval is not walked, and a cron hour by hour.
    """
    head = last = None
    count = 0
    for some in _rows(spec, after, until + 1):
        head, last, count = some[0] if head is None else head, some[-1], count + len(some)
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
    crons.check(cron)
    return crons.explained(cron)


def shown(spec: Spec, moment: int) -> str:
    """Return the zone data of this process, and what it says that clocks of the spec's zone show at the moment."""
    return f"{zones()} {wall(zone(spec.timezone), moment).isoformat()}"


def moved(spec: Spec, decided: int, by: str) -> int:
    """Return up to where is decided, by the zone data of now, if `by` was what clocks showed at `decided` then.

    A time of the day that has fired by the old data is not fired again by the new.
    """
    data, _, showed = by.partition(" ")
    if spec.cron is None or not crons.read(spec.cron).is_fixed or data == zones() or not showed:
        return decided
    return max(decided, first(zone(spec.timezone), datetime.fromisoformat(showed)))


def _lag(spec: Spec, schedule_id: str, slot: int, following: int | None) -> int:
    if not spec.jitter:
        return 0
    room = spec.jitter if following is None else min(spec.jitter, following - slot)
    state = blake2b(f"{schedule_id}/{slot}".encode(), digest_size=8, person=b"aiki.jitter")
    return int.from_bytes(state.digest(), "big") % room


def _within(spec: Spec, after: int) -> tuple[int, int]:
    """Return behind which moment slots lie, and before which."""
    return min(max(after, (spec.start or 0) - 1), END), END if spec.end is None else min(spec.end, END)


def _rows(spec: Spec, after: int, end: int) -> Iterator[Sequence[int]]:
    """Yield the slots behind `after` and before `end` in rows, none of which is empty."""
    after, last = _within(spec, after)
    end = min(end, last)
    if spec.cron is not None:
        for some in crons.rows(crons.read(spec.cron), zone(spec.timezone), after, end):
            if within := some[: bisect_left(some, end)]:
                yield within
    elif spec.every is not None:
        if row := range(_interval_behind(spec, after), end, spec.every):
            yield row
    elif spec.at is not None and after < spec.at < end:
        yield [spec.at]


def _interval_behind(spec: Spec, after: int) -> int:
    assert spec.every is not None
    return spec.anchor + ((after - spec.anchor) // spec.every + 1) * spec.every


# -- checks


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
