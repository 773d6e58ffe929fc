"""Own the recorded entries of a run that its body has not yet been given again.

All pages are here before the body's first step: whether a call or a patch is recorded must not depend on where a
page ends. Entries are let go of as they are consumed, so that a page's bytes are freed once it is through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from aiki.core.keys import PATCH, beginning
from aiki.wire.messages import Entry

PATCHES: Final = beginning(PATCH)


class Journal:
    """Recorded entries in their order, each consumed once."""

    __slots__ = ("_counts", "_entries", "_head", "_patches", "length", "remaining")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: list[Entry | None] = list(entries)
        self.length = len(self._entries)
        self.remaining = self.length
        self._head = 0
        self._counts: dict[str, int] = {}
        self._patches: dict[str, int] = {}
        for index, entry in enumerate(self._entries):
            assert entry is not None
            self._counts[entry.key] = self._counts.get(entry.key, 0) + 1
            if entry.key.startswith(PATCHES):
                self._patches[entry.key] = index

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

    def take_patch(self, key: str) -> bool:
        """Consume the patch entry `key`; tell whether there was one."""
        index = self._patches.pop(key, None)
        if index is None:
            return False
        self.consume(index)
        return True

    def drop_patches(self) -> bool:
        """Consume all patch entries if nothing else is left; tell whether that made room.

        A patch that the code no longer asks for is harmless: only outcomes must be asked for.
        """
        if len(self._patches) != self.remaining:
            return False
        for key in list(self._patches):
            self.take_patch(key)
        return True
