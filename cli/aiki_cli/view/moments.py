"""Own how a moment and a span of time are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from aiki.process.spans import spoken

_UNITS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""What a length is told in, with the microseconds of each."""


def utc(moment: datetime | None) -> str | None:
    """Return RFC 3339 text in UTC, with microseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(moment: datetime) -> datetime:
    """Return the moment in the time of this machine, or as it is if that lies beyond what a datetime can hold."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def length(of: timedelta) -> str:
    """Return a length of time exactly, as it may be typed: `15m`, `1h30m`, `250ms`."""
    left, parts = of // timedelta(microseconds=1), []
    for unit, microseconds in _UNITS.items():
        whole, left = divmod(left, microseconds)
        if whole:
            parts.append(f"{whole}{unit}")
    return "".join(parts) or "0s"


def distance(moment: datetime, now: datetime) -> str:
    """Return how far a moment lies from now: `in 5m 10s`, `2h 3m ago`."""
    return f"{span(now - moment)} ago" if moment <= now else f"in {span(moment - now)}"


def dated(moment: datetime | None, now: datetime) -> str | None:
    """Return a moment in the time of this machine, with how far it lies from now."""
    return None if moment is None else f"{local(moment):%Y-%m-%d %H:%M:%S} ({distance(moment, now)})"


def span(length: timedelta) -> str:
    """Return a span of time as people say it."""
    return spoken(length.total_seconds())
