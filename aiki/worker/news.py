"""Own what a worker hears of the inboxes of its runs: this one's news has got to that number.

Daemons push it to the session after the commit, and each renewal's reply says it of all runs that have something
unread: so a push that is lost costs seconds. What came may come along with a push, where it is little; else it is read
by a call, when the run asks for it.
A push may overtake the reply that brings its run, and is kept for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from aiki.core.failpoints import failpoint
from aiki.wire import codec
from aiki.wire.messages import Told

if TYPE_CHECKING:
    from aiki.execution import ClaimedRun
    from aiki.transport import Transport
    from aiki.wire.messages import Arrival


_NONE_CAME: Final[Mapping[str, Sequence[Arrival]]] = MappingProxyType({})
EARLY_RUNS: Final = 1_000
"""Of which news is kept that came before them; of more the oldest is forgotten, and a renewal says it again."""


class News:
    """What is told to one worker of its runs, which are given by id."""

    def __init__(self, transport: Transport, runs: Mapping[str, ClaimedRun]) -> None:
        self._transport = transport
        self._runs = runs
        self._early: dict[str, int] = {}
        self._end: Callable[[], None] = lambda: None

    def listen(self, session: str) -> None:
        """Hear what is told to this session, and no longer to the one before."""
        self._end()
        self._end = self._transport.told(session, self._on_told)

    def take(self, news: Iterable[tuple[str, int]], came: Mapping[str, Sequence[Arrival]] = _NONE_CAME) -> None:
        """Pass on to runs up to which number arrivals have come, and what came, as far as that is known."""
        for run_id, number in news:
            run = self._runs.get(run_id)
            if run is not None:
                run.on_news(number, came.get(run_id, ()))
                continue
            self._early[run_id] = max(number, self._early.pop(run_id, 0))
            if len(self._early) > EARLY_RUNS:
                del self._early[next(iter(self._early))]

    def began(self, run: ClaimedRun) -> None:
        """Pass on what was told of a run before it was here."""
        if self._early:
            number = self._early.pop(run.fence.run_id, 0)
            if number > run.claimed.news:
                run.on_news(number)

    def close(self) -> None:
        """Hear no more."""
        self._end()

    def _on_told(self, data: bytes) -> None:
        try:
            told = codec.decode(data, Told)
        except msgspec.MsgspecError:
            return  # whoever sees our inbox may write there
        if not failpoint("worker.told"):
            self.take(told.runs, told.arrivals)
