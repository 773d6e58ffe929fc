"""Own how a moment is typed: 2026-11-22T21:00, in the time of this machine unless it says otherwise. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiki import UsageError


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


def ago(duration: str | None) -> datetime | None:
    """Return the moment so long before now; None if nothing was said. Raises UsageError."""
    if duration is None:
        return None
    from aiki.manifest import seconds

    return datetime.now(UTC) - timedelta(seconds=seconds(duration))
