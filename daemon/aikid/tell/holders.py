"""Tell worker sessions of news for the runs that they hold, best effort, after the commit.

What came goes along where it is little; else it is read. What is not told here is said by the session's next renewal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiki.core.failpoints import failpoint
from aiki.wire import subjects, weights
from aiki.wire.codec import encode
from aiki.wire.limits import TOLD_BYTES, TOLD_RUNS
from aiki.wire.messages import Arrival, Told
from aikid.bus import Bus


class Holders:
    """The sessions that hold runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def tell(
        self,
        news: Mapping[tuple[str, str], Sequence[tuple[str, int]]],
        came: Mapping[tuple[str, str], list[Arrival]],
    ) -> None:
        """Say to each session, by namespace and id, up to which number arrivals have come: of TOLD_RUNS at most.

        `came` holds what that was, by namespace and run.
        """
        left = TOLD_RUNS
        for (namespace, session), runs in news.items():
            if left > 0 and not failpoint("news.before_push"):
                told = Told(list(runs[:left]))
                along = ((run_id, came.get((namespace, run_id), [])) for run_id, _ in told.runs)
                told.arrivals = _little(along)
                self._bus.push(subjects.told(namespace, session), encode(told))
            left -= len(runs)


def _little(came: Iterable[tuple[str, list[Arrival]]]) -> dict[str, list[Arrival]]:
    """Return what came first, as far as it is no more than TOLD_BYTES together."""
    room = TOLD_BYTES
    little: dict[str, list[Arrival]] = {}
    for run_id, arrivals in came:
        room -= sum(map(weights.of_arrival, arrivals))
        if room < 0:
            break
        if arrivals:
            little[run_id] = arrivals
    return little
