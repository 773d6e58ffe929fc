"""Own the deletion of what no run needs any more: a batch at a time, so that nobody waits for it.

While it finds something it goes on at once; what has to stay for now is walked by at a leisurely pace, and after the
last batch it rests.
"""

from __future__ import annotations

from typing import Final

from aikid.engine.pruning import Walk
from aikid.store.key_pruning import KeyKind
from aikid.store.pool import Pool
from aikid.store.pruning import Kind
from aikid.tell.alarm import Alarm

_AT_ONCE: Final = 0.05
_STEP: Final = 1.0


class Pruner:
    """Deletes consumed arrivals, what earlier generations have left, and slots, counts and keys whose time is over."""

    every_seconds = 60.0
    suffers = "what no run needs any more stays"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._walks = [Walk(kind) for kind in (*Kind, *KeyKind)]
        self.alarm = Alarm()

    @property
    def is_over(self) -> bool:
        """Whether the last look has come to the end of all there is."""
        return all(walk.is_over for walk in self._walks)

    async def run_once(self) -> int:
        """Take one batch of each kind, and return how many rows were deleted. Raises Unavailable."""
        deleted = sum([await walk.step(self._pool) for walk in self._walks])
        if deleted:
            self.alarm.due_in(_AT_ONCE)
        elif not self.is_over:
            self.alarm.due_in(_STEP)
        return deleted
