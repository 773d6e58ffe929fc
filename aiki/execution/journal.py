"""Own the recorded entries of a run that its body has not yet been given again.

All pages are here before the body's first step: whether a call is recorded must not depend on where a
page ends. Entries are let go of as they are consumed, so that a page's bytes are freed once it is through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from aiki.core.keys import beginning
from aiki.execution.kinds import KINDS
from aiki.wire.messages import Entry

_AT_ONCE: Final = tuple(beginning(word) for word, kind in KINDS.items() if kind.at_once)
_MAY_STAY: Final = tuple(beginning(word) for word, kind in KINDS.items() if kind.may_stay_unasked)


class Journal:
    """Recorded entries in their order, each consumed once."""

    __slots__ = ("_at_once", "_counts", "_entries", "_head", "is_over", "length", "remaining")

    def __init__(self, entries: Iterable[Entry], *, is_over: bool = False) -> None:
        """With `is_over` it is that of a run that has ended, and has come past all that it had to decide."""
        self.is_over = is_over
        self._entries: list[Entry | None] = list(entries)
        self.length = len(self._entries)
        self.remaining = self.length
        self._head = 0
        self._counts: dict[str, int] = {}
        self._at_once: dict[str, int] = {}
        for index, entry in enumerate(self._entries):
            assert entry is not None
            self._counts[entry.key] = self._counts.get(entry.key, 0) + 1
            if entry.key.startswith(_AT_ONCE):
                self._at_once[entry.key] = index

    def __contains__(self, key: object) -> bool:
        return key in self._counts

    def front(self) -> Entry | None:
        """Return the first entry that is not consumed."""
        entries = self._entries
        while self._head < len(entries) and entries[self._head] is None:
            self._head += 1
        return entries[self._head] if self._head < len(entries) else None

    def unconsumed(self) -> Iterator[tuple[int, Entry]]:
        """Yield what is left, in order, with each entry's index."""
        if self.front() is None:
            return
        for index in range(self._head, len(self._entries)):
            entry = self._entries[index]
            if entry is not None:
                yield index, entry

    def consume(self, index: int) -> None:
        """Take out the entry at `index`."""
        entry = self._entries[index]
        assert entry is not None, f"entry {index} is consumed twice"
        self._entries[index] = None
        self.remaining -= 1
        left = self._counts[entry.key] - 1
        if left:
            self._counts[entry.key] = left
        else:
            del self._counts[entry.key]

    def take(self, key: str) -> Entry | None:
        """Consume the entry `key` of a kind that is decided at once, and return it; None if there is none."""
        index = self._at_once.pop(key, None)
        if index is None:
            return None
        entry = self._entries[index]
        self.consume(index)
        return entry

    def drop_unasked(self) -> bool:
        """Consume all entries that may stay unasked if nothing else is left; tell whether that made room."""
        left = list(self.unconsumed())
        if not left or not all(entry.key.startswith(_MAY_STAY) for _, entry in left):
            return False
        for index, entry in left:
            self._at_once.pop(entry.key, None)
            self.consume(index)
        return True
