"""Own how tests look into the inbox of a run in memory, and give one what another has heard."""

from __future__ import annotations

from collections.abc import Mapping

from aiki.testing.memory.run import Run
from aiki.wire.messages import Arrival


class WorldInbox:
    """What has reached a run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def arrivals(self) -> list[Arrival]:
        return [*self._run.inbox.rows.values()]

    @property
    def unread(self) -> list[Arrival]:
        return [*self._run.inbox.unread.values()]

    @property
    def news(self) -> int:
        return self._run.inbox.news

    @property
    def taken(self) -> dict[int, str]:
        """Numbers of what was consumed, and the key of the entry that did; "" if that is not here, or there is none."""
        lives = [*self._run.past, self._run.life]
        journals = {
            generation: life.journal for generation, life in enumerate(lives, self._run.generation - len(lives) + 1)
        }
        return {
            number: journals[generation][seq - 1].key if seq and generation in journals else ""
            for number, (generation, seq) in self._run.inbox.taken.items()
        }

    @taken.setter
    def taken(self, kept: Mapping[int, str]) -> None:
        inbox = self._run.inbox
        inbox.taken = {number: taken for number, taken in inbox.taken.items() if number in kept}
        inbox.unread = {number: one for number, one in inbox.rows.items() if number not in inbox.taken}

    def begin_as(self, other: WorldInbox) -> None:
        """Hold what `other` does: taken there is taken here."""
        mine, theirs = self._run.inbox, other._run.inbox
        mine.rows, mine.unread, mine.taken = dict(theirs.rows), dict(theirs.unread), dict(theirs.taken)
        mine.news = theirs.news

    def clear(self) -> None:
        """Forget all, as if it had been pruned."""
        self._run.inbox.rows.clear()
        self._run.inbox.taken.clear()
