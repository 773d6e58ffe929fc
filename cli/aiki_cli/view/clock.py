"""Own what ticks in a live view: how long something lasts, when it goes on, and a sentence that tells of it. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from aiki.process.spans import spoken

_DATE: Final = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC"
_SPAN: Final = r"(?:\d{1,9}(?: ms| s|[dhm])(?: \d{1,2}[hms])?)"
_UNTIL: Final = re.compile(rf"{_DATE} \((?:in {_SPAN}|now)\)")
_SINCE: Final = re.compile(rf"for {_SPAN} \(since {_DATE}\)")


def elapsed(begun: datetime, ended: datetime | None, now: datetime) -> str:
    """Return how long it took, or has lasted by now; while it lasts in whole seconds, for it ticks once a second."""
    if ended is not None:
        return spoken((ended - begun).total_seconds())
    return _whole(now - begun)


def countdown(moment: datetime, now: datetime) -> str:
    """Return when something goes on: `in 4 s`, `in 2m 10s`, `now`."""
    left = moment.replace(microsecond=0) - now  # as in sentences, so that both say the same
    return f"in {_whole(left + timedelta(seconds=0.999))}" if left > timedelta(0) else "now"


def ticking(sentence: str, now: datetime) -> str:
    """Return a sentence of why a run does not move with its spans as they are now; it was made a while ago."""
    said = _UNTIL.sub(lambda found: f"{found[1]} UTC ({countdown(_moment(found[1]), now)})", sentence)
    return _SINCE.sub(lambda found: f"for {_whole(now - _moment(found[1]))} (since {found[1]} UTC)", said)


def _moment(date: str) -> datetime:
    try:
        return datetime.strptime(date, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:  # an error's own words, which look like ours
        return datetime.max.replace(tzinfo=UTC)


def _whole(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    return f"{seconds} s" if seconds < 60 else spoken(seconds)
