"""Own what a summary says of runs: since when one counts as under way, and what is amiss with it, in a line. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from aiki.wire.limits import LINE_CHARS


def taken(created: int, starts: int | None, started: int | None, ended: int) -> int:
    """Return how many microseconds a run took that has ended: since its creation, or since it was to start.

    One that was to start later and began, or ended, before that took the time since then.
    """
    since = created if starts is None else min(one for one in (starts, started, ended) if one is not None)
    return max(0, ended - since)


class _Error(msgspec.Struct):
    type: str
    message: str = ""


_decoder: Final = msgspec.json.Decoder(_Error)


def words(error: bytes) -> str:
    """Return a stored error's type and message."""
    try:
        found = _decoder.decode(error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return error.decode(errors="replace")
    return f"{found.type}: {found.message}" if found.message else found.type


def in_a_line(text: str) -> str:
    """Return a text in one line, of no more than LINE_CHARS."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"
