"""Own the reading of what earlier claims have left: the journal, the last try of each task, and the ends of children.

They come page after page, and all is here before the body's first step: whether a call is recorded or was tried must
not depend on where a page ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.core.keys import is_of_ends
from aiki.execution.kinds.labels import at_first
from aiki.execution.retrying import given_up
from aiki.rules.histories import History, read
from aiki.wire.messages import Attempt, Claimed, InboxReply, Page, PageReply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from msgspec import Raw

    from aiki.wire.messages import Entry


class Reading:
    """What has been read of one run; its claim brought the first page."""

    __slots__ = ("_claimed", "_ends_after", "_has_ends", "ends", "entries", "tries")

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self.entries: list[Entry] = claimed.entries
        self.tries: dict[str, Attempt] = {}
        """The last try of each task, by its key."""
        self.ends: dict[str, Raw] = {}
        """What the ends of children carry that entries have taken, by the ids of their starts."""
        self._ends_after = 0
        self._has_ends = True
        if claimed.attempts:
            self._know(claimed.attempts)

    def history(self) -> tuple[History, dict[str, int]]:
        """Return what the journal says once all is here, and the tries of tasks that count no more (`given_up`)."""
        history = read(self.entries)
        return history, given_up(self.entries, history)

    def next_page(self) -> Page | None:
        """Return what to ask for next; None once all is here."""
        claimed = self._claimed
        if len(self.entries) < claimed.length:
            return Page(claimed.fence.run_id, len(self.entries))
        if len(self.tries) < claimed.tries:
            return Page(claimed.fence.run_id, tried_after=max(self.tries, default=""))
        return None

    def next_ends(self) -> int | None:
        """Return the number after which to read ends of children on; None once all are here, if any were taken."""
        if self._has_ends and any(is_of_ends(entry.key) for entry in self.entries):
            return self._ends_after
        return None

    def take_ends(self, reply: InboxReply) -> None:
        """Take in a page of ends of children. Of two of one child, which was retried, the later one stands."""
        self.ends.update({arrival.name: arrival.value for arrival in reply.arrivals})
        self._ends_after, self._has_ends = reply.news, reply.more

    def take(self, page: PageReply) -> bool:
        """Take in a page; tell whether there was anything on it."""
        self.entries = self.entries + page.entries
        self._know(page.attempts)
        return bool(page.entries or page.attempts)

    def labels(self) -> Mapping[str, str]:
        """Return those with which the run has begun."""
        return at_first(self._claimed.labels, self.entries)

    def _know(self, tries: Iterable[Attempt]) -> None:
        for row in tries:
            known = self.tries.get(row.key)
            if known is None or known.attempt < row.attempt:
                self.tries[row.key] = row
