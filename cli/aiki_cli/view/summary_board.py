"""Own what is known of a namespace that is watched: its last summary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from aiki.client.counts import NamespaceSummary


class SummaryBoard:
    """The summary that has come last."""

    def __init__(self) -> None:
        self._latest: NamespaceSummary | None = None

    def take(self, news: NamespaceSummary) -> None:
        """Take in a summary; it is no line."""
        self._latest = news

    def frame(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return the page of the namespace."""
        from aiki_cli.view.overview import lines

        return [] if self._latest is None else lines(self._latest, now, width=width, height=height)

    def rest(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return the same: the last state stays."""
        return self.frame(now, width, height)

    def sign_of_life(self, now: datetime) -> str:
        """Return that nothing has changed for long."""
        return "nothing has changed"
