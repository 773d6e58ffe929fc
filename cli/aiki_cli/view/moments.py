"""Own how a moment and a span of time are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiki.process.spans import spoken


def utc(moment: datetime | None) -> str | None:
    """Return RFC 3339 text in UTC, with microseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(moment: datetime) -> datetime:
    """Return the moment in the time of this machine, or as it is if that lies beyond what a datetime can hold."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def span(length: timedelta) -> str:
    """Return a span of time as people say it."""
    return spoken(length.total_seconds())
