"""Own the reading of what earlier claims have left: the journal, and the last try of each task, page after page.

All of it is here before the body's first step: whether a call is recorded or was tried must not depend on where a page
ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.wire.messages import Attempt, Claimed, Page, PageReply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiki.wire.messages import Entry


class Reading:
    """What has been read of one run; its claim brought the first page."""

    __slots__ = ("_claimed", "entries", "tries")

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self.entries: list[Entry] = claimed.entries
        self.tries: dict[str, Attempt] = {}
        """The last try of each task, by its key."""
        if claimed.attempts:
            self._know(claimed.attempts)

    def next_page(self) -> Page | None:
        """Return what to ask for next; None once all is here."""
        claimed = self._claimed
        if len(self.entries) < claimed.length:
            return Page(claimed.fence.run_id, len(self.entries))
        if len(self.tries) < claimed.tries:
            return Page(claimed.fence.run_id, tried_after=max(self.tries, default=""))
        return None

    def take(self, page: PageReply) -> bool:
        """Take in a page; tell whether there was anything on it."""
        self.entries = self.entries + page.entries
        self._know(page.attempts)
        return bool(page.entries or page.attempts)

    def _know(self, tries: Iterable[Attempt]) -> None:
        for row in tries:
            known = self.tries.get(row.key)
            if known is None or known.attempt < row.attempt:
                self.tries[row.key] = row
