"""Own time on the wire: microseconds since 1970 to aware datetimes and back, exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiki.core.errors import UsageError

SECOND: Final = 1_000_000
"""In microseconds, as all times and lengths are that are stored."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_datetime(microseconds: int) -> datetime:
    """Return the aware UTC datetime of a time on the wire; exact, unlike floats.

    A time that no datetime can hold is the last one that it can (or the first).
    """
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return LAST if microseconds > 0 else FIRST


def to_wire(moment: Any, *, what: str, hint: str = "datetime.now(UTC) + timedelta(hours=1)") -> int:
    """Return the time on the wire of an aware datetime. Raises UsageError for anything else, which `what` names."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise UsageError(f"{what} needs a datetime with a time zone, not {moment!r}", hint=hint)
    return (moment - EPOCH) // _MICROSECOND
