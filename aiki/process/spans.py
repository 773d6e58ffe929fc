"""Own how a span of time is said to people. Pure."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """Return a span of time as people say it: `12 ms`, `3.4 s`, `5m 10s`, `2h 3m`, `4d 1h`."""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"
