"""Own what a log says while something that we need is away: a line when it goes, one a minute, one when it is back.

Loops look several times a second, so none of them logs by itself: each tells the one `Outage` of what it misses.
What comes and goes in quick turns is said at most every SETTLE_SECONDS.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Final

REPEAT_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 5.0


class Outage:
    """The absence of `what`. `goes_on` and `is_over` may be called at any rate, and from any thread."""

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        *,
        away: str = "is away",
        back: str = "is back",
        level: int = logging.WARNING,
    ) -> None:
        self._log = log
        self._away = f"{what} {away}"
        self._back = f"{what} {back}"
        self._level = level
        self._since: float | None = None
        self._said_at = -math.inf
        self._said_away = False
        """Whether the log's last word is that it is away."""

    def goes_on(self, reason: object) -> None:
        """Take note that it is away, or still is, and why."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._said_at < (REPEAT_SECONDS if self._said_away else SETTLE_SECONDS):
            self._log.debug("%s still: %s", self._away, reason)
            return
        lasting = f" for {now - self._since:.0f} s" if self._said_away else ""
        self._said_at, self._said_away = now, True
        self._log.log(self._level, "%s%s: %s", self._away, lasting, reason)

    def is_over(self) -> None:
        """Take note that it is there."""
        if self._since is None:
            return
        now = time.monotonic()
        lasted, self._since = now - self._since, None
        if self._said_away:
            self._said_at, self._said_away = now, False
            self._log.log(self._level, "%s after %.1f s", self._back, lasted)
