"""Tell worker sessions of news for the runs that they hold, best effort, after the commit.

Only that there is some: what came is read. What is not told here is said by the session's next renewal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiki.core.failpoints import failpoint
from aiki.wire import subjects
from aiki.wire.codec import encode
from aiki.wire.limits import TOLD_RUNS
from aiki.wire.messages import Told
from aikid.bus import Bus


class Holders:
    """The sessions that hold runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def tell(self, news: Mapping[tuple[str, str], Sequence[tuple[str, int]]]) -> None:
        """Say to each session, by namespace and id, up to which number arrivals have come: of TOLD_RUNS at most."""
        left = TOLD_RUNS
        for (namespace, session), runs in news.items():
            if left > 0 and not failpoint("news.before_push"):
                self._bus.push(subjects.told(namespace, session), encode(Told(list(runs[:left]))))
            left -= len(runs)
