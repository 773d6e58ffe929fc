"""Own a run that was recorded: all that a replay needs of it, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiki.wire.messages import Arrival, Attempt, Entry, HistoryItem
    from aiki.wire.messages.exports import Exported


@dataclass(slots=True)
class Recording:
    """A run with its whole journal, the last try of each task, and what has come to it."""

    exported: Exported
    """Its `run` holds no entries and no tries of its own: they stand here."""
    entries: list[Entry] = field(default_factory=list)
    tries: list[Attempt] = field(default_factory=list)
    ends: list[Arrival] = field(default_factory=list)
    """The ends of children that its entries have taken."""
    unread: list[Arrival] = field(default_factory=list)
    """What has come and was not taken."""
    history: list[HistoryItem] = field(default_factory=list)
    """Its story, for people."""
    namespace: str = ""
    """That it was read from."""
    exported_at: int = 0
    """When that was, by the clock of that server, in microseconds since 1970."""

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.exported.run.fence.run_id
