"""Own what a run has still to make durable, in order, and how it is cut into units that fit a message."""

from __future__ import annotations

from collections import deque
from typing import Final

from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Attempt, End, Entry, Fence, Unit

UNIT_BYTES: Final = MESSAGE_BYTES - 128 * 1024
"""A unit takes no more entries from here on; one larger entry travels alone. The rest is room for other runs."""
_OVERHEAD: Final = 64


class Outbox:
    """Entries and attempts in the order in which they came about.

    `added`, `sent` and `durable` count them: what must not happen before everything added so far is durable waits
    until `durable` has reached the `added` of now.
    """

    __slots__ = ("_items", "added", "base", "durable", "sent")

    def __init__(self, base: int) -> None:
        """`base` is the number of entries that the journal holds already."""
        self.base = base
        self.added = 0
        self.sent = 0
        self.durable = 0
        self._items: deque[Entry | Attempt] = deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Entry | Attempt) -> None:
        """Append an entry or an attempt."""
        self._items.append(item)
        self.added += 1

    def take(self, fence: Fence, end: End | None) -> Unit:
        """Return the next unit, as much as fits a message; `end` goes along if everything before it does."""
        entries: list[Entry] = []
        attempts: list[Attempt] = []
        items = self._items
        size = 0
        while items:
            item = items[0]
            size += _weight(item)
            if size > UNIT_BYTES and (entries or attempts):
                break
            items.popleft()
            if isinstance(item, Entry):
                entries.append(item)
            else:
                attempts.append(item)
        taken = len(entries) + len(attempts)
        self.sent += taken
        if end is not None and (items or (taken and size + _end_weight(end) > UNIT_BYTES)):
            end = None
        unit = Unit(fence, self.base, entries, attempts, end)
        self.base += len(entries)
        return unit

    def acknowledge(self) -> None:
        """Take everything that was sent as durable."""
        self.durable = self.sent

    def give_up(self, refused: Unit) -> None:
        """Forget everything from `refused` on, which the daemon will never take."""
        self._items.clear()
        self.base = refused.base
        self.added = self.sent = self.durable


def _weight(item: Entry | Attempt) -> int:
    value = item.value if isinstance(item, Entry) else item.error
    return _OVERHEAD + len(item.key) + len(value)


def _end_weight(end: End) -> int:
    return len(end.output) + len(end.error) + len(end.why or "")
