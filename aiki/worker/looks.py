"""Own a worker's answers to whoever asks what stands in its memory of a run. They change nothing.

Whoever may publish there may ask: what cannot be read is not answered, and no question fails anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from aiki.core.failpoints import failpoint
from aiki.wire import codec
from aiki.wire.limits import LOOKED_BYTES, LOOKED_ITEMS, LOOKED_MOST
from aiki.wire.messages import Look, Looked

if TYPE_CHECKING:
    from aiki.execution import Execution
    from aiki.transport import Transport

QUESTION_BYTES: Final = 256
"""No question of ours is longer."""

log = logging.getLogger("aiki.worker")


class Looks:
    """What is asked of one worker's runs, which are given by id."""

    def __init__(self, transport: Transport, runs: Mapping[str, Execution], now: Callable[[], int]) -> None:
        self._transport = transport
        self._runs = runs
        self._now = now
        self._end: Callable[[], None] = lambda: None

    def listen(self, session: str) -> None:
        """Answer what is asked of this session, and no longer of the one before."""
        self._end()
        self._end = self._transport.looks(session, self._on_look)

    def close(self) -> None:
        """Answer no more."""
        self._end()

    def _on_look(self, data: bytes) -> bytes | None:
        if len(data) > QUESTION_BYTES or failpoint("worker.look"):
            return None
        try:
            asked = codec.decode(data, Look)
        except msgspec.MsgspecError:
            return None  # whoever sees our inbox may write there
        try:
            run = self._runs.get(asked.run_id)
            return codec.encode(Looked(self._now(), held=False)) if run is None else _told(run, asked.items)
        except Exception:
            log.exception("a bug in aiki: what stands in memory of a run cannot be told")
            return None


def _told(run: Execution, items: int) -> bytes:
    """Return what is told of a run: with fewer tries and calls than were asked for, where they are too large."""
    items = min(items, LOOKED_MOST)
    while len(told := codec.encode(run.look(items))) > LOOKED_BYTES and items > LOOKED_ITEMS:
        items = max(items // 2, LOOKED_ITEMS)
    return told
