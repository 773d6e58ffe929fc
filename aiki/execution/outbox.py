"""Own what a run has still to make durable, in order. How much fits a message is for whoever sends it."""

from __future__ import annotations

from aiki.wire.messages import Attempt, End, Entry, Fence, Unit


class Outbox:
    """Entries and attempts in the order in which they came about.

    `added`, `sent` and `durable` count them: what must not happen before everything added so far is durable waits
    until `durable` has reached the `added` of now.
    """

    __slots__ = ("_attempts", "_entries", "added", "base", "durable", "sent")

    def __init__(self, base: int) -> None:
        """`base` is the number of entries that the journal holds already."""
        self.base = base
        self.added = 0
        self.sent = 0
        self.durable = 0
        self._entries: list[Entry] = []
        self._attempts: list[Attempt] = []

    def __bool__(self) -> bool:
        return self.added > self.sent

    def add(self, item: Entry | Attempt) -> None:
        """Append an entry or an attempt."""
        if isinstance(item, Entry):
            self._entries.append(item)
        else:
            self._attempts.append(item)
        self.added += 1

    def take(self, fence: Fence, end: End | None) -> Unit:
        """Return all that was added since the last unit, and `end`, as the next one."""
        unit = Unit(fence, self.base, self._entries, self._attempts, end)
        self.base += len(self._entries)
        self._entries, self._attempts = [], []
        self.sent = self.added
        return unit

    def acknowledge(self) -> None:
        """Take everything that was sent as durable."""
        self.durable = self.sent

    def give_up(self, refused: Unit) -> None:
        """Forget everything from `refused` on, which the daemon will never take."""
        self._entries, self._attempts = [], []
        self.base = refused.base
        self.added = self.sent = self.durable
