"""Own how a moment is typed: 2026-11-22T21:00, in the time of this machine unless it says otherwise. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from aiki import UsageError

_LIKE_A_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}")


def moment_of(text: str | None, option: str) -> datetime | None:
    """Return the moment, None if none was typed. Raises UsageError, which names the option."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()  # a time without an offset is the local one
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{option} {text!r} is no time, and expected one such as 2026-11-22T21:00 or ...T20:00Z"
        ) from None


def when(text: str | None, option: str) -> datetime | None:
    """Return the moment that is typed as a time, or as how long ago it was. Raises UsageError, with the option."""
    from aiki.manifest import seconds

    if text is None:
        return None
    if _LIKE_A_TIME.match(text):
        return moment_of(text, option)
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(text))
    except (UsageError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is neither how long ago, such as 90m or 7d, nor a time, such as 2026-11-22T21:00"
        ) from None


def ago(duration: str | None) -> datetime | None:
    """Return the moment so long before now; None if nothing was said. Raises UsageError."""
    if duration is None:
        return None
    from aiki.manifest import seconds

    return datetime.now(UTC) - timedelta(seconds=seconds(duration))
