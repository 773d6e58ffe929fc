"""Own the durations that a person writes outside a manifest. It brings no YAML with it."""

from __future__ import annotations

from aiki.core.duration import to_seconds


def seconds(value: str) -> float:
    """Return the seconds of a duration. Raises UsageError."""
    return to_seconds(value)
